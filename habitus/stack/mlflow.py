"""The MLflow server: runs and the model registry in SQLite, artifacts served from the home folder."""

import sys
import urllib.error
import urllib.request

from habitus.stack.home import Home
from habitus.stack.parts import Part
from habitus.stack.ports import LOCALHOST


def part(home: Home, port: int) -> Part:
    """The server as a process, with one worker. Its paths are relative to the home folder, where every part runs."""
    (home.root / "mlflow").mkdir(exist_ok=True)
    options = {
        "--host": LOCALHOST,
        "--port": str(port),
        "--backend-store-uri": "sqlite:///mlflow/mlflow.db",
        "--artifacts-destination": "./mlflow/artifacts",
        "--workers": "1",
    }
    return Part(
        name="mlflow",
        argv=(sys.executable, "-m", "mlflow", "server", *(word for option in options.items() for word in option)),
        env={"DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        address=f"http://{LOCALHOST}:{port}",
        port=port,
        answers=lambda: healthy(port),
    )


def healthy(port: int) -> bool:
    """Whether an MLflow server on `port` says that it is well."""
    try:
        with urllib.request.urlopen(f"http://{LOCALHOST}:{port}/health", timeout=0.8) as response:
            return bool(response.status == 200)  # noqa: PLR2004  HTTP's "OK"
    except (OSError, urllib.error.URLError, ValueError):
        return False
