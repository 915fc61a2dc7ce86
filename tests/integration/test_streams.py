"""A real worker process on a real Kafka and Redis: nothing is lost, whatever it is sent and however it ends."""

import asyncio
import json
import signal
from collections import Counter
from typing import Any

import pytest
from redis import Redis

from feature_repo.offline.history import open_history
from feature_repo.schemas import PERSON_LABELS, PREDICTIONS
from runtime.kafka import lag, partition_for, producer
from streams.adapters.dead_letters import read_dead_letters
from streams.verify import verify
from tests.scene import BASE_MS, STARTS_WITHIN_S, STOPS_WITHIN_S, Scene, person, require_nothing_lost, send_people, wait_until

pytestmark = pytest.mark.timeout(180)
MOVE_WITHIN_S = 15.0


def test_kill_9_in_the_middle_of_a_replay_loses_and_doubles_nothing(scene: Scene) -> None:
    """Promise: a worker killed twice under load is started again and ends where an undisturbed one does."""
    send_people(scene, 3_000)
    for _ in range(2):
        scene.start(HABITUS_STREAMS_BATCH="150")
        already = scene.log.read_text().count("person.records, the last")
        wait_until(
            lambda already=already: scene.log.read_text().count("person.records, the last") >= already + 3,
            STARTS_WITHIN_S,
            "three batches",
        )
        scene.kill()
    assert lag(scene.settings, f"{scene.settings.topic_prefix}streams", scene.topics.records.name) > 0
    send_people(scene, 500, start=3_000)
    scene.start(HABITUS_STREAMS_BATCH="400")
    scene.drain(scene.topics.records.name, scene.topics.labels.name)
    require_nothing_lost(scene, published=3_500)


def test_partitions_move_to_a_second_worker_and_back_when_it_is_killed(scene: Scene) -> None:
    """Promise: a worker that joins takes over without a conflict; what a killed one held goes on within fifteen seconds."""
    send_people(scene, 2_000)
    scene.start(HABITUS_STREAMS_BATCH="200")
    scene.await_log("handled")
    first, told = scene.worker, scene.log
    scene.log = scene.log.with_name("second.log")
    scene.start(HABITUS_STREAMS_BATCH="200")
    scene.await_log("assigned")
    send_people(scene, 1_000, start=2_000)
    scene.await_log("handled")
    before = told.read_text().count("assigned: ")
    scene.kill()
    wait_until(lambda: told.read_text().count("assigned: ") > before, MOVE_WITHIN_S, "what the killed one held has moved")
    scene.drain(scene.topics.records.name, scene.topics.labels.name)
    assert first is not None
    assert first.poll() is None
    require_nothing_lost(scene, published=3_000)


def bad_messages() -> list[dict[str, Any]]:
    """One message of every kind of badness, as arguments of a producer."""
    good = person(1, person_id="bad")
    values: list[bytes | None] = [
        None,
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b'{"Weight": NaN}',
        b'{"person_id": "bad", "person_id": "bad"}',
        b'{"person_id": "\\ud800"}',
        b'{"note": "' + b"x" * 70_000 + b'"}',
        *(
            json.dumps(good | fields).encode()
            for fields in (
                {"Weight": 3},
                {"Height": "tall"},
                {"Age": True},
                {"Gender": "x"},
                {"FAF": 9},
                {"Gender": None},
                {"SMOKE": "maybe"},
                {"weight_kg": 61},
                {"event_timestamp": "2024-05-01T10:00:00"},
                {"event_timestamp": "2124-05-01T10:00:00Z"},
                {"person_id": "no one"},
            )
        ),
    ]
    bad: list[dict[str, Any]] = [{"key": b"bad", "value": value} for value in values]
    bad += [{"key": key, "value": json.dumps(good).encode()} for key in (None, b"other")]
    bad.append({"key": b"bad", "value": json.dumps(good).encode(), "partition": 1 - partition_for(b"bad", 2)})
    bad.append({"key": b"bad", "value": b"\xff", "headers": [("content-type", b"application/x-protobuf")]})
    return bad


def test_every_bad_message_becomes_a_dead_letter_and_the_stream_goes_on(scene: Scene) -> None:
    bad = bad_messages()
    scene.start()
    with producer(scene.settings) as sender:
        for number, message in enumerate(bad):
            sender.send(scene.topics.records.name, timestamp_ms=BASE_MS, **message)
            fields = person(number)
            sender.send(
                scene.topics.records.name,
                key=fields["person_id"].encode(),
                value=json.dumps(fields).encode(),
                timestamp_ms=BASE_MS,
            )
        sender.flush()
    scene.drain(scene.topics.records.name, scene.topics.labels.name)
    require_nothing_lost(scene, published=2 * len(bad), dead=len(bad))
    letters = scene.read(scene.topics.records_dlq.name)
    assert Counter((each.key, each.value) for each in letters) == Counter((each["key"], each["value"]) for each in bad)
    classes = Counter(dict(each.headers)["error_class"].decode() for each in letters)
    assert classes == {"undecodable": 10, "invalid_record": 11, "misrouted": 3}


def test_a_record_compressed_beyond_every_limit_becomes_a_dead_letter(scene: Scene) -> None:
    """Promise: what a producer squeezed through by compression does not stop the stream; the letter tells its true size."""
    scene.start()
    with producer(scene.settings, compression_type="gzip", max_request_size=10_000_000) as sender:
        sender.send(scene.topics.records.name, key=b"big", value=b"x" * 5_000_000, timestamp_ms=BASE_MS)
        sender.flush()
    scene.drain(scene.topics.records.name)
    (letter,) = scene.read(scene.topics.records_dlq.name)
    assert dict(letter.headers)["value_bytes"] == b"5000000"


def test_labels_and_predictions_reach_their_histories(scene: Scene) -> None:
    entry = {
        "request_id": "r1", "person_id": "ann", "model_name": "m", "model_version": "1", "model_alias": None,
        "obesity_level": "Normal_Weight", "probabilities": {"Normal_Weight": 1.0}, "features": {"bmi": 22.0},
        "event_timestamp": "2024-05-01T10:00:00Z", "served_at": "2024-05-01T11:00:00Z",
        "feature_topic": None, "feature_partition": None, "feature_offset": None,
    }  # fmt: skip
    label = {"person_id": "ann", "event_timestamp": "2024-05-01T10:00:00Z", "obesity_level": "Normal_Weight"}
    with producer(scene.settings) as sender:
        for topic, fields in ((scene.topics.predictions.name, entry), (scene.topics.labels.name, label)):
            sender.send(topic, key=b"ann", value=json.dumps(fields).encode(), timestamp_ms=BASE_MS)
            sender.send(topic, key=b"ann", value=b"{}", timestamp_ms=BASE_MS)
        sender.flush()
    scene.start()
    scene.drain(scene.topics.labels.name, scene.topics.predictions.name)
    (kept,) = open_history(scene.settings, PREDICTIONS).scan().to_pylist()
    assert (kept["request_id"], kept["p_Normal_Weight"]) == ("r1", 1.0)
    (kept,) = open_history(scene.settings, PERSON_LABELS).scan().to_pylist()
    assert (kept["person_id"], kept["obesity_level"]) == ("ann", "Normal_Weight")
    for topic in (scene.topics.labels.name, scene.topics.predictions.name):
        assert len(list(read_dead_letters(scene.settings, topic))) == 1


def test_a_worker_waits_for_redis_and_says_so(scene: Scene) -> None:
    scene.start(HABITUS_REDIS_URL="redis://127.0.0.1:1/0")
    scene.await_log("waiting: redis")
    assert scene.worker is not None
    assert scene.worker.poll() is None


def test_a_worker_waits_for_kafka_and_says_so(scene: Scene) -> None:
    scene.start(HABITUS_KAFKA_BOOTSTRAP="127.0.0.1:1")
    scene.await_log("waiting: kafka")
    assert scene.worker is not None
    assert scene.worker.poll() is None


def test_a_worker_refuses_a_redis_that_evicts(scene: Scene) -> None:
    with Redis.from_url(scene.settings.redis_url.get_secret_value()) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            scene.start()
            scene.await_log("set it to noeviction")
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    scene.await_log("worker starts")


def test_a_worker_stops_in_time_when_asked(scene: Scene) -> None:
    send_people(scene, 500)
    scene.start()
    scene.await_log("handled")
    assert scene.worker is not None
    scene.worker.send_signal(signal.SIGTERM)
    assert scene.worker.wait(timeout=STOPS_WITHIN_S) == 0


def test_a_worker_ends_with_an_error_when_another_owns_its_history(scene: Scene) -> None:
    """Promise: an online store that is ahead of the history ends the worker unacknowledged, and the log says what to do."""
    send_people(scene, 10)
    with Redis.from_url(scene.settings.redis_url.get_secret_value()) as client:
        for partition in range(2):
            client.set(f"{scene.settings.project}:watermark:{scene.topics.records.name}:{partition}", "0:99")
        scene.start()
        assert scene.worker is not None
        assert scene.worker.wait(timeout=STARTS_WITHIN_S) == 1
    assert "the history ends at -1" in scene.log.read_text()
    assert lag(scene.settings, f"{scene.settings.topic_prefix}streams", scene.topics.records.name) == 10


def test_an_emptied_online_store_is_filled_again_when_a_worker_starts(scene: Scene) -> None:
    send_people(scene, 200)
    scene.start()
    scene.drain(scene.topics.records.name, scene.topics.labels.name)
    scene.kill()
    with Redis.from_url(scene.settings.redis_url.get_secret_value()) as client:
        client.delete(*client.scan_iter(match=f"*{scene.settings.project}*"))
    assert asyncio.run(verify(scene.settings)).missing == 50
    scene.start()
    wait_until(lambda: scene.log.read_text().count("caught up") >= 2, STARTS_WITHIN_S, "caught up")
    require_nothing_lost(scene, published=200)
