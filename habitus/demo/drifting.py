"""The end: a scale that reads 4 % high, the alert, the retraining, the gate's decision and what it is worth."""

from rich.table import Table

from habitus.data.messages import ReplayOptions
from habitus.demo.log import events
from habitus.demo.modelling import await_version
from habitus.demo.population import DRIFT, SOURCE
from habitus.demo.stage import Stage
from habitus.demo.waiting import until
from predictor.evaluate import evaluate
from runtime.events import DriftAlert, ModelEvent
from runtime.registry import Alias, Registry

_ALERT_WITHIN_S = 90.0
_DECISION_WITHIN_S = 240.0
_DRIFTED = "weight_kg"


def drift(stage: Stage) -> None:
    """Persons not seen before stand on the faulty scale; their levels are what they are. The monitor must notice."""
    summary = stage.replay(stage.people().drifted, _options(records=True))
    stage.narrator.say(f"published {summary.records:,} records of {summary.persons:,} new persons, weights 4 % too high")
    stage.drain()

    def raised() -> DriftAlert | None:
        found = events(stage.settings, stage.topics.alerts, DriftAlert)
        return found[0] if found else None

    stage.alert = alert = until(stage.narrator, "the monitor's alert", raised, deadline_s=_ALERT_WITHIN_S)
    drifted = [feature.name for feature in alert.features if feature.drifted]
    stage.narrator.say(f"alert after {alert.events:,} events: {alert.summary}")
    stage.narrator.check(
        "the monitor finds the drift, in the weight and nowhere else", held=drifted == [_DRIFTED], evidence=", ".join(drifted)
    )


def retrain(stage: Stage) -> None:
    """The labels arrive; the trainer answers the alert with a challenger, and the gate decides on persons neither model saw."""
    alert = stage.alert
    assert alert is not None, "the step before waited for it"
    summary = stage.replay(stage.people().drifted, _options(records=False))
    stage.narrator.say(f"published {summary.labels:,} labels of the drifted stretch")

    def decided() -> ModelEvent | None:
        found = events(stage.settings, stage.topics.model_events, ModelEvent)
        return next((each for each in found if each.decision.get("alert_id") == alert.id), None)

    event = until(stage.narrator, "the trainer's decision", decided, deadline_s=_DECISION_WITHIN_S)
    said = event.decision
    stage.narrator.say(f"the gate on {said['rows']:,} rows of {said['persons']:,} persons: {said['outcome']}, {said['reason']}")
    promoted = event.type == "ModelPromoted"
    champion = Registry(stage.settings).by_alias(Alias.CHAMPION)
    expected = event.model_version if promoted else stage.versions["first"]
    stage.narrator.check(
        "the registry's champion is the one that the gate left standing",
        held=champion is not None and champion.version == expected,
        evidence=f"version {champion.version if champion else 'none'}",
    )
    if promoted:
        stage.versions["second"] = event.model_version
        served = await_version(stage, event.model_version)
        stage.narrator.check("the predictor reloaded by itself", held=True, evidence=f"serves version {served.model.version}")


def compare(stage: Stage) -> None:
    """Both models on drifted rows that neither has seen, scored through the predictor's own code."""
    if "second" not in stage.versions:
        stage.narrator.say("the gate kept the old model, so there is nothing to compare")
        return
    unseen = DRIFT.apply(stage.people().unseen)
    table = Table("model", "accuracy", "macro F1", "log loss", box=None, pad_edge=False)
    accuracy = {}
    for role, version in stage.versions.items():
        scores = evaluate(stage.settings, unseen, version).scores
        accuracy[role] = scores["accuracy"]
        table.add_row(f"version {version}", *(f"{scores[name]:.4f}" for name in ("accuracy", "macro_f1", "log_loss")))
    stage.narrator.show(table)
    stage.narrator.check(
        "the promoted model is better on drifted rows that neither saw",
        held=accuracy["second"] > accuracy["first"],
        evidence=f"accuracy {accuracy['first']:.4f} -> {accuracy['second']:.4f} on {len(unseen):,} rows",
    )


def _options(*, records: bool) -> ReplayOptions:
    """The drifted stretch: its records, or afterwards its labels; both calls name the same persons and times."""
    source = f"{SOURCE}-drifted"
    return ReplayOptions(source=source, stretch="production", shift=DRIFT, records=records, labels=not records)
