"""The story: its steps in order, and how it is told from beginning to end.

Place in the flow: `habitus demo` calls `tell`. The demo has a home of its own below the usual one and empties it first, so
it touches nobody's data and works a second time.
"""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from habitus.data.settings import DataSettings
from habitus.demo import beginning, drifting, faults, modelling, reporting
from habitus.demo.narrator import Narrator
from habitus.demo.stage import Stage
from habitus.stack.home import Home
from habitus.stack.lifecycle import Stack
from predictor.settings import PredictorSettings

HOME_NAME = "demo"

STEPS: tuple[tuple[str, Callable[[Stage], None]], ...] = (
    ("Start a real stack: Kafka, Redis, MLflow, streams, trainer, predictor, monitor", beginning.start),
    ("Find a population", beginning.open_people),
    ("Replay its history through Kafka", beginning.replay_history),
    ("Verify that nothing was lost, and that online equals offline", beginning.verify_stream),
    ("Train the first model from the feature store", modelling.train),
    ("Predict over gRPC, and compare with MLflow's copy of the model", modelling.predict),
    ("Send bad records", faults.send_bad_records),
    ("Let a scale read 4 % too high", drifting.drift),
    ("Retrain, and let the gate decide", drifting.retrain),
    ("Compare both models on rows that neither saw", drifting.compare),
    ("Write the four reports", reporting.report),
)


def tell(home: Path, console: Console, *, keep: bool) -> bool:
    """Tell the story on a fresh stack in `home`; True if every verification held.

    With `keep` the stack runs on afterwards. It is stopped in any case when the story breaks off. Raises `HabitusError`
    if a step could not be done.
    """
    stage = Stage(Narrator(console), Stack(Home.at(home)), DataSettings(home=home))
    stage.stack.purge()
    ended = False
    try:
        for title, step in STEPS:
            with stage.narrator.step(title):
                step(stage)
        ended = True
    finally:
        if not (ended and keep):
            stage.stack.down()
    stage.narrator.summarise(_places(stage, running=keep))
    return stage.narrator.held


def _places(stage: Stage, *, running: bool) -> dict[str, str | Path]:
    home = stage.settings.home
    places: dict[str, str | Path] = {
        "MLflow": stage.settings.mlflow_uri,
        "predictor": PredictorSettings(home=home).predictor_address,
        "reports": home / reporting.FOLDER,
        "logs": home / "logs",
    }
    if running:
        return places | {"still running; to stop it": f"HABITUS_HOME={home} habitus down"}
    return places | {"stopped; to start it again": f"HABITUS_HOME={home} habitus up"}
