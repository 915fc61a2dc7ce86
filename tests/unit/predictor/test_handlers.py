"""What the core promises, whatever the transport."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.features import FEATURE_NAMES
from feature_repo.labels import LEVELS
from feature_repo.materialise import inline_row
from feature_repo.person import parse_record, resolve_time
from feature_repo.predictions import encode_prediction, parse_prediction
from feature_repo.wire import decode_value
from predictor.checking import check
from predictor.handlers import BATCH_LIMIT, LOOP_ROWS, Parts, predict
from predictor.messages import Answer, PredictionRequest, Serving
from runtime.errors import (
    HabitusError,
    InvalidRequest,
    ModelRefused,
    RecordRejected,
    StaleFeatures,
    Unavailable,
    UnknownModel,
    UnknownPerson,
)


async def one(request: Any, parts: Any):
    [outcome] = await predict([request], parts)
    return outcome


async def answered(request: Any, parts: Any) -> Answer:
    outcome = await one(request, parts)
    assert isinstance(outcome, Answer), outcome
    return outcome


async def test_a_known_person_is_answered_from_stored_features(parts: Any, reader: Any, make_model: Any, classifier: Any):
    answer = await answered(PredictionRequest(person_id="p1"), parts)
    stored = reader.rows["p1"]
    expected = make_model(classifier).score([stored.values])[0]
    assert answer.probabilities == dict(zip(LEVELS, expected.tolist(), strict=True))
    assert sum(answer.probabilities.values()) == pytest.approx(1.0, abs=1e-12)
    assert answer.level == max(answer.probabilities, key=answer.probabilities.__getitem__)
    assert answer.inputs == stored.values
    origin = answer.origin
    assert origin.event_timestamp == stored.event_timestamp
    assert (origin.source_topic, origin.source_partition, origin.source_offset) == ("person.records", 2, 11)


async def test_inputs_without_a_value_are_named(parts: Any):
    answer = await answered(PredictionRequest(person_id="p1"), parts)
    assert "water_intake" in answer.origin.defaults_used
    assert "weight_kg" not in answer.origin.defaults_used
    assert set(answer.origin.defaults_used) == {name for name, value in answer.inputs.items() if value is None}


async def test_only_inputs_of_the_model_are_reported(parts: Any, models: Any, make_model: Any, classifier: Any):
    models.by_alias["champion"] = make_model(classifier, inputs=("weight_kg", "water_intake"))
    answer = await answered(PredictionRequest(person_id="p1"), parts)
    assert answer.inputs == {"weight_kg": 71.0, "water_intake": None}
    assert answer.origin.defaults_used == ("water_intake",)


async def test_an_inline_record_has_the_features_that_the_stream_would_give_it(parts: Any, record: dict[str, object], now: Any):
    answer = await answered(PredictionRequest(record=record), parts)
    parsed = resolve_time(parse_record({"person_id": "anyone", **record}).record, now)
    expected = inline_row(parsed, None)
    assert answer.inputs == {name: expected[name] for name in FEATURE_NAMES}
    assert answer.person_id == ""
    assert answer.origin.source_topic is None
    assert answer.origin.event_timestamp == now


async def test_an_inline_record_of_nobody_reads_nothing(parts: Any, reader: Any, record: dict[str, object]):
    """Promise: the person that stands in for nobody is never looked up, so predictions of records go on without Redis."""
    reader.down = True
    await answered(PredictionRequest(record=record), parts)
    assert reader.reads == []


async def test_a_record_over_a_known_person_merges_attributes_and_folds_on_the_stored_state(parts: Any, now: Any):
    request = PredictionRequest(person_id="p1", record={"weight_kg": 75.0})
    answer = await answered(request, parts)
    assert answer.inputs["height_m"] == 1.7
    assert answer.inputs["transport"] == "Walking"
    assert answer.inputs["weight_kg"] == 75.0
    assert answer.inputs["records_seen"] == 3
    assert answer.inputs["weight_change_kg"] == 4.0
    assert answer.origin.event_timestamp == now
    assert answer.origin.source_offset == 11


async def test_nothing_of_an_inline_record_is_stored(parts: Any, reader: Any):
    before = dict(reader.rows)
    await answered(PredictionRequest(person_id="p1", record={"weight_kg": 75.0}), parts)
    assert reader.rows == before


async def test_a_record_that_names_its_person_is_folded_but_not_filled_up(parts: Any, record: dict[str, object]):
    """Promise: a record alone is judged as if it had been published; what it leaves out is missing, not stored values."""
    del record["transport"]
    answer = await answered(PredictionRequest(record={"person_id": "p1", **record}), parts)
    assert answer.person_id == "p1"
    assert answer.inputs["records_seen"] == 3
    assert answer.inputs["transport"] is None


async def test_a_whole_record_of_an_unknown_person_starts_from_nothing(parts: Any, record: dict[str, object]):
    answer = await answered(PredictionRequest(person_id="new", record=record), parts)
    assert answer.inputs["records_seen"] == 1
    assert answer.origin.source_topic is None


async def test_a_partial_record_of_an_unknown_person_names_what_is_missing(parts: Any):
    error = await one(PredictionRequest(person_id="new", record={"weight_kg": 75.0}), parts)
    assert isinstance(error, RecordRejected)
    assert set(error.failed_fields) == {"gender", "age_years", "height_m"}


async def test_every_violated_field_of_a_record_is_named(parts: Any, record: dict[str, object]):
    error = await one(PredictionRequest(record=record | {"age_years": 400.0, "transport": "Rocket"}), parts)
    assert isinstance(error, RecordRejected)
    assert set(error.failed_fields) == {"age_years", "transport"}


async def test_a_record_from_the_future_is_refused(parts: Any, record: dict[str, object], now: Any):
    error = await one(PredictionRequest(record=record | {"event_timestamp": now + timedelta(hours=1)}), parts)
    assert isinstance(error, RecordRejected)
    assert error.failed_fields == ("event_timestamp",)


async def test_a_person_whose_row_expired_is_not_found_but_a_record_is_folded_on_the_state(
    parts: Any, reader: Any, record: dict[str, object]
):
    """Promise: a TTL hides values; it does not make the features over time start anew."""
    known = reader.rows["p1"]
    reader.rows["p1"] = replace(known, values=dict.fromkeys(known.values), expired=True)
    assert isinstance(await one(PredictionRequest(person_id="p1"), parts), UnknownPerson)
    answer = await answered(PredictionRequest(person_id="p1", record=record), parts)
    assert answer.inputs["records_seen"] == 3


async def test_an_unknown_person_is_not_found(parts: Any):
    assert isinstance(await one(PredictionRequest(person_id="nobody"), parts), UnknownPerson)


@pytest.mark.parametrize(("limit", "stale"), [(None, False), (3600, False), (3599.999999, True), (0, True)])
async def test_features_older_than_the_limit_are_refused(parts: Any, limit: Any, stale: Any):
    age = None if limit is None else timedelta(seconds=limit)
    outcome = await one(PredictionRequest(person_id="p1", max_feature_age=age), parts)
    assert isinstance(outcome, StaleFeatures) is stale


async def test_stored_attributes_under_a_record_must_be_young_enough_too(parts: Any):
    request = PredictionRequest(person_id="p1", record={"weight_kg": 75.0}, max_feature_age=timedelta(minutes=1))
    assert isinstance(await one(request, parts), StaleFeatures)


async def test_without_the_store_a_person_is_unavailable(parts: Any, reader: Any):
    reader.down = True
    assert isinstance(await one(PredictionRequest(person_id="p1"), parts), Unavailable)


@pytest.mark.parametrize("error", [Unavailable("model", "none yet"), UnknownModel("x"), ModelRefused("bad")])
async def test_a_model_that_cannot_be_had_is_the_error_of_the_request(parts: Any, models: Any, error: HabitusError):
    models.by_alias["champion"] = error
    assert await one(PredictionRequest(person_id="p1"), parts) is error


async def test_the_alias_asked_for_answers(parts: Any, models: Any, make_model: Any, make_classifier: Any):
    models.by_alias["challenger"] = make_model(make_classifier(0.25), version="2")
    answer = await answered(PredictionRequest(person_id="p1", model_alias="challenger"), parts)
    assert (answer.serving.model.version, answer.serving.alias) == ("2", "challenger")
    assert answer.probabilities[LEVELS[0]] == 0.25


async def test_a_request_id_is_echoed_or_made(parts: Any):
    assert (await answered(PredictionRequest(person_id="p1", request_id="r-7"), parts)).request_id == "r-7"
    made = {(await answered(PredictionRequest(person_id="p1"), parts)).request_id for _ in range(3)}
    assert len(made) == 3
    assert "" not in made


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (PredictionRequest(), "person_id"),
        (PredictionRequest(person_id="no spaces"), "person_id"),
        (PredictionRequest(person_id="p1\n"), "person_id"),
        (PredictionRequest(person_id="x" * 65), "person_id"),
        (PredictionRequest(person_id="p1", record={"person_id": "p2"}), "record.person_id"),
        (PredictionRequest(person_id="p1", model_alias="a/b"), "model_alias"),
        (PredictionRequest(person_id="p1", request_id="r" * 129), "request_id"),
        (PredictionRequest(person_id="p1", max_feature_age=timedelta(seconds=-1)), "max_feature_age"),
    ],
)
def test_a_request_that_breaks_its_contract_names_the_field(request_: Any, field: str):
    with pytest.raises(InvalidRequest) as caught:
        check(request_)
    assert [each.field for each in caught.value.violations] == [field]


async def test_every_answer_is_logged_and_no_failure_is(parts: Any, log: Any, now: Any):
    await predict([PredictionRequest(person_id="p1", request_id="a"), PredictionRequest(person_id="nobody")], parts)
    [entry] = log.entries
    read = parse_prediction(decode_value(encode_prediction(entry)))
    assert (read.request_id, read.person_id, read.model_version, read.model_alias) == ("a", "p1", "1", "champion")
    assert (read.feature_topic, read.feature_partition, read.feature_offset) == ("person.records", 2, 11)
    assert read.served_at == now
    assert read.model_dump() == entry


async def test_a_batch_keeps_the_order_and_each_its_own_error(
    parts: Any, reader: Any, record: dict[str, object], classifier: Any
):
    """Promise: one read and one model call for the whole batch, and errors stand where their requests stood."""
    before = len(classifier.calls)
    requests = [
        PredictionRequest(person_id="p1", request_id="0"),
        PredictionRequest(person_id="nobody"),
        PredictionRequest(record=record, request_id="2"),
        PredictionRequest(),
        PredictionRequest(record=record | {"age_years": -1}),
        PredictionRequest(person_id="p1", model_alias="none"),
        PredictionRequest(person_id="p1", record={"weight_kg": 72.0}, request_id="6"),
        UnknownPerson("came as an error"),
    ]
    outcomes = await predict(requests, parts)
    kinds = [Answer, UnknownPerson, Answer, InvalidRequest, RecordRejected, UnknownModel, Answer, UnknownPerson]
    assert [type(each) for each in outcomes] == kinds
    assert [outcomes[position].request_id for position in (0, 2, 6)] == ["0", "2", "6"]
    assert reader.reads == [("p1", "nobody")]
    assert classifier.calls[before:] == [3]


async def test_a_batch_without_the_store_still_answers_what_needs_none(parts: Any, reader: Any, record: dict[str, object]):
    reader.down = True
    outcomes = await predict([PredictionRequest(person_id="p1"), PredictionRequest(record=record)], parts)
    assert [type(each) for each in outcomes] == [Unavailable, Answer]


async def test_a_batch_of_two_aliases_answers_each_by_its_own(parts: Any, models: Any, make_model: Any, make_classifier: Any):
    models.by_alias["challenger"] = make_model(make_classifier(0.25), version="2")
    aliases = ["champion", "challenger"] * LOOP_ROWS
    outcomes = await predict([PredictionRequest(person_id="p1", model_alias=alias) for alias in aliases], parts)
    assert [each.serving.model.version for each in outcomes] == ["1", "2"] * LOOP_ROWS
    assert [each.probabilities[LEVELS[0]] for each in outcomes] == [0.5, 0.25] * LOOP_ROWS


async def test_a_batch_has_a_limit(parts: Any):
    request = PredictionRequest(person_id="p1")
    assert len(await predict([request] * BATCH_LIMIT, parts)) == BATCH_LIMIT
    with pytest.raises(InvalidRequest):
        await predict([request] * (BATCH_LIMIT + 1), parts)


async def test_no_requests_have_no_outcomes(parts: Any):
    assert await predict([], parts) == []


REQUESTS = st.builds(
    PredictionRequest,
    person_id=st.sampled_from(["", "p1", "nobody", "no spaces"]),
    record=st.none()
    | st.dictionaries(
        st.sampled_from(["gender", "age_years", "height_m", "weight_kg", "person_id", "x"]), st.just(1.5) | st.text()
    ),
    model_alias=st.sampled_from(["champion", "none", "?"]),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(requests=st.lists(REQUESTS, max_size=12))
async def test_a_batch_answers_as_its_requests_would_alone(parts: Any, requests: Any):
    """Promise: what stands beside a request in a batch changes nothing for it."""
    together = await predict(requests, parts)
    alone = [await one(request, parts) for request in requests]
    assert len(together) == len(requests)
    for ours, theirs in zip(together, alone, strict=True):
        assert type(ours) is type(theirs)
        if isinstance(ours, HabitusError):
            assert str(ours) == str(theirs)
        else:
            assert (ours.probabilities, ours.inputs, ours.origin) == (theirs.probabilities, theirs.inputs, theirs.origin)


async def test_every_answer_is_offered_to_the_shadows_after_it_was_logged(parts: Parts, shadows: Any):
    outcomes = await predict([PredictionRequest(person_id="p1"), PredictionRequest(person_id="nobody")], parts)
    assert shadows.answers == [outcomes[0]]


async def test_a_canary_answers_its_persons_from_its_own_inputs(parts: Parts, make_model: Any, make_classifier: Any):
    """Promise: the answer names the challenger; one without a person, or who asked for another alias, never gets it."""
    canary = Serving(make_model(make_classifier(0.9), version="2", inputs=("weight_kg", "pal")), "challenger")
    champion = Serving(make_model(make_classifier(0.1), inputs=("weight_kg",)), "champion", canary, 100.0)
    asked = replace(parts, models=_Given(champion))
    inline = {"gender": "Male", "age_years": 30, "height_m": 1.8, "weight_kg": 80}
    of_person, of_nobody = await predict([PredictionRequest(person_id="p1"), PredictionRequest(record=inline)], asked)
    assert (of_person.serving.alias, of_person.serving.model.version) == ("challenger", "2")
    assert set(of_person.inputs) == {"weight_kg", "pal"}
    assert of_nobody.serving.alias == "champion"


class _Given:
    def __init__(self, serving: Serving) -> None:
        self.serving = serving

    async def find(self, _: str) -> Serving:
        return self.serving


async def test_a_model_that_gives_no_probabilities_costs_the_rows_concerned_alone(parts: Any, classifier: Any, models: Any):
    """Promise: also of a model that passed its load check and fails on a later row."""
    served = models.by_alias["champion"].classifier
    real = served.predict_proba

    def sometimes(frame: Any) -> Any:
        found = real(frame)
        found[frame["weight_kg"] > 200] = float("nan")
        return found

    served.predict_proba = sometimes
    heavy = {"gender": "Male", "age_years": 30, "height_m": 1.8, "weight_kg": 250}
    outcomes = await predict([PredictionRequest(record=heavy), PredictionRequest(person_id="p1")], parts)
    assert isinstance(outcomes[0], Unavailable)
    assert isinstance(outcomes[1], Answer)

    def never(_frame: Any) -> Any:
        raise ZeroDivisionError

    served.predict_proba = never
    assert [type(each) for each in await predict([PredictionRequest(person_id="p1")], parts)] == [Unavailable]
