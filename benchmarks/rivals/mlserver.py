"""MLServer with the same booster: a model server that is handed the features, so it does less than the others (no store is read).

It is installed into an environment of its own below the cache folder, once; where that fails, it is not available and says why.
"""

import json
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from habitus.stack.home import cache_folder
from runtime.errors import Unavailable

METHOD = "/inference.GRPCInferenceService/ModelInfer"
_NAME = "obesity-level"
_PACKAGES = ("mlserver==1.7.1", "mlserver-lightgbm==1.7.1")
_INSTALLS_WITHIN_S = 600
# Field numbers of the Open Inference Protocol V2 (inference.ModelInferRequest, its InferInputTensor and InferTensorContents).
_MODEL_NAME, _INPUTS = 1, 5
_TENSOR_NAME, _DATATYPE, _SHAPE, _CONTENTS = 1, 2, 3, 5
_FP64_CONTENTS = 7
_LENGTH_DELIMITED, _CONTINUES = 2, 0x80


def program() -> Path:
    """MLServer's program, installed at the first call. Raises `Unavailable` where pip finds no way."""
    folder = cache_folder() / "benchmarks" / "-".join(_PACKAGES)
    found = folder / "bin" / "mlserver"
    if not found.exists():
        _run(sys.executable, "-m", "venv", str(folder))
        _run(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *_PACKAGES)
    return found


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALLS_WITHIN_S)  # noqa: S603
    except subprocess.CalledProcessError as error:
        raise Unavailable("mlserver", error.stderr.strip().rpartition("\n")[2]) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable("mlserver", str(error)) from error


def describe(folder: Path, model: Path, ports: Mapping[str, int]) -> None:
    """Write MLServer's settings into `folder`: ports for `grpc`, `http`, `metrics`; one process, its fastest way on one core."""
    folder.mkdir(parents=True, exist_ok=True)
    own_ports = {f"{name}_port": port for name, port in ports.items()}
    server = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **own_ports}
    described = {"name": _NAME, "implementation": "mlserver_lightgbm.LightGBMModel", "parameters": {"uri": str(model)}}
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(described))


def request_for(row: Sequence[float]) -> bytes:
    """The `ModelInferRequest` of one row."""
    contents = _field(_FP64_CONTENTS, struct.pack(f"<{len(row)}d", *row))
    shape = _field(_SHAPE, _varint(1) + _varint(len(row)))
    tensor = _field(_TENSOR_NAME, b"rows") + _field(_DATATYPE, b"FP64") + shape + _field(_CONTENTS, contents)
    return _field(_MODEL_NAME, _NAME.encode()) + _field(_INPUTS, tensor)


def holds(answer: bytes, probabilities: Sequence[float]) -> bool:
    """Whether exactly these numbers stand in the serialised answer."""
    return struct.pack(f"<{len(probabilities)}d", *probabilities) in answer


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(payload)) + payload


def _varint(number: int) -> bytes:
    if number < _CONTINUES:
        return bytes([number])
    return bytes([number & (_CONTINUES - 1) | _CONTINUES]) + _varint(number >> 7)
