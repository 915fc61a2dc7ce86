"""Generates the Python code of every `.proto`, compiled from the repository's root so that imports read `protos.habitus.v1`.

`python protos/compile.py` writes it; `--check` compares with what is committed and exits 1 on a difference.
"""

import argparse
import filecmp
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path.relative_to(ROOT) for path in (ROOT / "protos").rglob("*.proto"))
SERVICES = {Path("protos/habitus/v1/predictor.proto")}


def generate(out: Path) -> list[Path]:
    """Compile every source into `out`; returns the generated paths, relative to it. Raises SystemExit on a bad source."""
    for source in SOURCES:
        arguments = [
            "protoc",
            f"-I{ROOT}",
            f"-I{files('grpc_tools') / '_proto'}",
            f"--python_out={out}",
            f"--pyi_out={out}",
        ]
        if source in SERVICES:
            arguments.append(f"--grpc_python_out={out}")
        if protoc.main([*arguments, str(source)]) != 0:
            sys.exit(f"protoc refused {source}")
    return sorted(path.relative_to(out) for path in out.rglob("*_pb2*.py*"))


def differing() -> list[Path]:
    """The generated files that are not committed as their sources would generate them now."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        return [
            path
            for path in generate(fresh)
            if not (ROOT / path).exists() or not filecmp.cmp(fresh / path, ROOT / path, shallow=False)
        ]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    if not parser.parse_args().check:
        generate(ROOT)
    elif stale := differing():
        sys.exit(f"generated code is stale: {', '.join(map(str, stale))}; run: make protos")


if __name__ == "__main__":
    main()
