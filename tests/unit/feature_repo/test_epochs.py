"""The ledger of epochs: created only if absent, the same to whoever asks, whatever was tried twice."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.offline.epochs import Epochs, Plan
from feature_repo.offline.files import LocalFiles
from runtime.errors import HistoryConflict

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def plan(epoch: int, app_version: str = "1.0") -> Plan:
    return Plan(epoch, ("bmi", "weight_kg"), 3, app_version, NOON)


@pytest.fixture
def epochs(tmp_path: Path) -> Epochs:
    return Epochs(LocalFiles(tmp_path), "person_features")


def test_writers_move_when_an_epoch_is_opened_and_readers_when_it_is_published(epochs: Epochs) -> None:
    assert (epochs.written(), epochs.current(), epochs.planned()) == (0, 0, None)
    epochs.plan(plan(1))
    assert (epochs.written(), epochs.current(), epochs.planned()) == (0, 0, plan(1))
    epochs.open(1)
    assert (epochs.written(), epochs.current(), epochs.planned()) == (1, 0, None)
    epochs.publish(1)
    assert (epochs.written(), epochs.current(), epochs.plan_of(1)) == (1, 1, plan(1))


def test_of_two_backfills_that_plan_the_same_epoch_one_conflicts_and_its_plan_is_not_taken(epochs: Epochs) -> None:
    epochs.plan(plan(1))
    epochs.plan(plan(1))  # its own answer was lost
    with pytest.raises(HistoryConflict, match="another backfill"):
        epochs.plan(plan(1, "2.0"))
    assert epochs.plan_of(1) == plan(1)


def test_a_plan_that_was_given_up_for_a_greater_one_is_passed_over(epochs: Epochs) -> None:
    epochs.plan(plan(1))
    epochs.plan(plan(2))
    assert epochs.planned() == plan(2)
    epochs.open(2)
    assert (epochs.written(), epochs.planned()) == (2, None)


def test_the_log_that_was_bound_first_stays_bound_epoch_by_epoch(epochs: Epochs) -> None:
    assert [epochs.bind_log(0, "a.b", each) for each in ("first", "second")] == ["first", "first"]
    assert [epochs.bind_log(0, "plan", "other"), epochs.bind_log(1, "a.b", "second")] == ["other", "second"]
    assert (epochs.written(), epochs.planned()) == (0, None)


def test_the_ledger_of_one_dataset_is_not_another_ones(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    Epochs(files, "person_features").open(1)
    assert Epochs(files, "person_labels").written() == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["open", "publish"]), st.integers(1, 12)), max_size=8))
def test_no_step_back_whatever_is_tried_in_whatever_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    epochs = Epochs(LocalFiles(tmp_path_factory.mktemp("ledger")), "person_features")
    known = (0, 0)
    for step, epoch in steps:
        getattr(epochs, step)(epoch)
        now = (epochs.written(), epochs.current())
        assert now >= known
        known = now
    greatest = {step: max((epoch for each, epoch in steps if each == step), default=0) for step in ("open", "publish")}
    assert known == (greatest["open"], greatest["publish"])
