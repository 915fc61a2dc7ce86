"""What Prometheus is told of calls, batches, answers and of what stands somewhere."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from predictor.adapters.grpc_guard import Guard, make_guard
from predictor.handlers import Parts, Stages, predict
from predictor.messages import PredictionRequest, Serving
from predictor.metrics import Metrics, Readings
from predictor.model import ServedModel
from predictor.protection.admission import Admission
from predictor.protection.tokens import Tokens, line_of, new_token
from predictor.settings import PredictorSettings
from protos.habitus.v1 import predictor_pb2 as pb
from protos.habitus.v1 import predictor_pb2_grpc
from tests.unit.predictor.edge import HeldReader, failure, running, until

Told = CollectorRegistry


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def told(metrics: Metrics) -> Told:
    registry = CollectorRegistry()
    registry.register(metrics)
    return registry


def value(told: Told, name: str, **labels: str) -> float | None:
    return told.get_sample_value(f"habitus_predictor_{name}", labels)


def calls(told: Told, method: str, code: str) -> float | None:
    return value(told, "requests_total", method=method, code=code)


class TestCalls:
    """Whatever a call ends with is counted, by its method and code."""

    async def test_answers_and_errors_of_the_core_count_by_code(self, parts: Any, metrics: Metrics, told: Told):
        async with (
            running(parts, make_guard(PredictorSettings(), metrics.called)) as at,
            grpc.aio.insecure_channel(at) as channel,
        ):
            stub = predictor_pb2_grpc.PredictorStub(channel)
            await stub.Predict(pb.PredictRequest(person_id="p1"))
            await failure(stub.Predict(pb.PredictRequest(person_id="nobody")))
            await stub.GetVersion(pb.GetVersionRequest())
        assert calls(told, "Predict", "OK") == 1
        assert calls(told, "Predict", "NOT_FOUND") == 1
        assert calls(told, "GetVersion", "OK") == 1
        assert value(told, "request_seconds_count", method="Predict") == 2

    async def test_a_stream_counts_once_however_much_it_carries(self, parts: Any, metrics: Metrics, told: Told):
        async with (
            running(parts, make_guard(PredictorSettings(), metrics.called)) as at,
            grpc.aio.insecure_channel(at) as channel,
        ):
            stream = predictor_pb2_grpc.PredictorStub(channel).PredictStream(iter([pb.PredictRequest(person_id="p1")] * 3))
            assert len([each async for each in stream]) == 3
            await until(lambda: calls(told, "PredictStream", "OK") == 1)

    async def test_a_message_that_cannot_be_read_counts(self, parts: Any, metrics: Metrics, told: Told):
        async with (
            running(parts, make_guard(PredictorSettings(), metrics.called)) as at,
            grpc.aio.insecure_channel(at) as channel,
        ):
            await failure(channel.unary_unary("/habitus.v1.Predictor/Predict")(b"\xff\xff"))
        assert calls(told, "Predict", "INVALID_ARGUMENT") == 1

    async def test_a_refusal_for_want_of_a_place_counts(self, parts: Any, metrics: Metrics, told: Told):
        full = Admission(1, "calls")
        full.enter()
        guard = Guard(full, Admission(1, "streams"), hear=metrics.called)
        async with running(parts, guard) as at, grpc.aio.insecure_channel(at) as channel:
            await failure(predictor_pb2_grpc.PredictorStub(channel).Predict(pb.PredictRequest(person_id="p1")))
        assert calls(told, "Predict", "RESOURCE_EXHAUSTED") == 1

    async def test_a_caller_without_a_token_makes_no_label_of_its_own(
        self, parts: Any, metrics: Metrics, told: Told, tmp_path: Any
    ):
        (tmp_path / "tokens").write_text(line_of("ann", new_token()))
        guard = Guard(Admission(1, "calls"), Admission(1, "streams"), Tokens(tmp_path / "tokens"), hear=metrics.called)
        async with running(parts, guard) as at, grpc.aio.insecure_channel(at) as channel:
            await failure(channel.unary_unary("/habitus.v1.Predictor/Predict")(b""))
            await failure(channel.unary_unary("/made.up/Name")(b""))
        assert calls(told, "Predict", "UNAUTHENTICATED") == 1
        assert calls(told, "other", "UNAUTHENTICATED") == 1

    async def test_a_call_that_its_caller_left_counts_as_cancelled_and_one_out_of_time_as_that(
        self, parts: Parts, reader: Any, metrics: Metrics, told: Told
    ):
        held = replace(parts, reader=HeldReader(reader))
        async with running(held, make_guard(PredictorSettings(), metrics.called)) as at, grpc.aio.insecure_channel(at) as channel:
            predict_one = predictor_pb2_grpc.PredictorStub(channel).Predict
            call = asyncio.ensure_future(predict_one(pb.PredictRequest(person_id="p1")))
            await until(lambda: held.reader.waiting == 1)  # type: ignore[attr-defined]
            call.cancel()
            await until(lambda: calls(told, "Predict", "CANCELLED") == 1)
            await failure(predict_one(pb.PredictRequest(person_id="p1"), timeout=0.2))
            await until(lambda: calls(told, "Predict", "DEADLINE_EXCEEDED") == 1)

    async def test_a_fault_of_ours_counts_as_unknown(self, parts: Parts, metrics: Metrics, told: Told):
        class Broken:
            async def read(self, *_: Any, **__: Any) -> Any:
                raise ZeroDivisionError

        guard = make_guard(PredictorSettings(), metrics.called)
        async with running(replace(parts, reader=Broken()), guard) as at, grpc.aio.insecure_channel(at) as channel:
            await failure(predictor_pb2_grpc.PredictorStub(channel).Predict(pb.PredictRequest(person_id="p1")))
        assert calls(told, "Predict", "UNKNOWN") == 1


class TestBatches:
    """The core tells of each batch."""

    async def test_a_batch_tells_its_size_its_stages_and_its_answers(self, parts: Parts, metrics: Metrics, told: Told):
        requests = [PredictionRequest(person_id="p1"), PredictionRequest(person_id="p1"), PredictionRequest(person_id="nobody")]
        await predict(requests, replace(parts, watching=metrics))
        assert value(told, "batch_rows_sum") == 3
        assert {value(told, "stage_seconds_count", stage=stage) for stage in ("read", "compute", "log")} == {1}
        assert value(told, "answers_total", alias="champion", version="1") == 2

    async def test_the_age_of_features_is_told_in_seconds(self, parts: Parts, metrics: Metrics, told: Told):
        await predict([PredictionRequest(person_id="p1")], replace(parts, watching=metrics))
        assert value(told, "feature_age_seconds_sum") == timedelta(hours=1).total_seconds()
        assert value(told, "feature_age_seconds_bucket", le="3600.0") == 1
        assert value(told, "feature_age_seconds_bucket", le="600.0") == 0

    async def test_an_input_without_a_value_counts_by_its_name(self, parts: Parts, metrics: Metrics, told: Told):
        [answer] = await predict([PredictionRequest(person_id="p1")], replace(parts, watching=metrics))
        used = answer.origin.defaults_used  # type: ignore[union-attr]
        assert used
        assert all(value(told, "defaults_total", feature=name) == 1 for name in used)
        assert value(told, "defaults_total", feature="weight_kg") is None


class TestReadings:
    """What stands somewhere is looked at when it is asked for."""

    @pytest.fixture
    def standing(self) -> dict[str, Any]:
        return {"waiting": 3, "inside": {"calls": 2, "streams": 1}, "circuit_is_open": True, "log_dropped": 5, "servings": []}

    @pytest.fixture(autouse=True)
    def readings(self, metrics: Metrics, standing: dict[str, Any]) -> None:
        metrics.readings = Readings(**{name: (lambda name=name: standing[name]) for name in standing})

    def test_queue_places_circuit_and_lost_entries_are_told_as_they_stand(self, told: Told):
        assert value(told, "waiting_requests") == 3
        assert value(told, "inside", places="calls") == 2
        assert value(told, "inside", places="streams") == 1
        assert value(told, "circuit_open") == 1
        assert value(told, "log_dropped_total") == 5

    def test_a_model_that_serves_no_more_is_told_no_more(
        self, told: Told, standing: dict[str, Any], make_model: Any, classifier: Any
    ):
        standing["servings"] = [Serving(make_model(classifier, version="1"), "champion")]
        assert value(told, "model_info", alias="champion", version="1", evaluation="registered") == 1
        standing["servings"] = [Serving(make_model(classifier, version="2"), "champion")]
        assert value(told, "model_info", alias="champion", version="1", evaluation="registered") is None
        assert value(told, "model_info", alias="champion", version="2", evaluation="registered") == 1

    def test_the_registered_object_in_place_of_a_compiled_form_is_told_as_the_fallback(
        self, told: Told, standing: dict[str, Any], make_model: Any, classifier: Any
    ):
        registered: ServedModel = make_model(classifier)
        standing["servings"] = [
            Serving(registered, "challenger"),
            Serving(replace(registered, compiled=object()), "champion"),  # type: ignore[arg-type]
        ]
        assert value(told, "model_fallback", alias="challenger") == 1
        assert value(told, "model_fallback", alias="champion") == 0


@given(st.lists(st.floats(0, 1e9, allow_nan=False)))
def test_buckets_hold_what_is_up_to_their_bound_and_the_last_holds_all(seconds: Sequence[float]):
    metrics, registry = Metrics(), CollectorRegistry()
    registry.register(metrics)
    for each in seconds:
        metrics.called("Predict", "OK", each)
    found = {float(bound): count for bound, count in _buckets(registry)}
    assert found == {bound: sum(each <= bound for each in seconds) for bound in found}
    assert not seconds or found[float("inf")] == len(seconds)


def test_all_of_it_can_be_written_before_anything_was_told(told: Told):
    assert generate_latest(told).decode().endswith("# EOF\n")


def _buckets(registry: CollectorRegistry) -> Iterator[tuple[str, float]]:
    for family in registry.collect():
        for sample in family.samples:
            if sample.name == "habitus_predictor_request_seconds_bucket":
                yield sample.labels["le"], sample.value


def test_stages_are_told_apart(metrics: Metrics, told: Told, now: Any):
    metrics.answered([], Stages(read_s=1.0, compute_s=2.0, log_s=3.0), now)
    sums = [value(told, "stage_seconds_sum", stage=stage) for stage in ("read", "compute", "log")]
    assert sums == [1.0, 2.0, 3.0]
