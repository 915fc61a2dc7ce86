"""Where our process spends its time: the predictor under cProfile, which sees its main thread, that of the event loop."""

import io
import pstats

from benchmarks.serving.contenders import ours
from benchmarks.serving.rounds import Task, sample
from benchmarks.serving.scene import Scene

_CONCURRENCY = 32
_REQUESTS_PER_SECOND = 300
_SHOWN = 40


def profiled(scene: Scene, seconds: float) -> str:
    """The functions that took most time under a load of about `seconds`, by their own time."""
    file = scene.stage.folder / "profile"
    with ours(scene, "cProfile", "--outfile", str(file), "-m") as contender:
        sample(contender, Task(_CONCURRENCY), round(seconds * _REQUESTS_PER_SECOND))
    said = io.StringIO()
    pstats.Stats(str(file), stream=said).strip_dirs().sort_stats("tottime").print_stats(_SHOWN)
    return said.getvalue()
