"""Faust is set up so that it neither acknowledges, declares nor decodes anything by itself, and stops with its work done."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr, ValidationError

from streams.app import Flow, Supervision, _Path, credentials, make_app
from streams.handlers import Applied
from streams.messages import Message, Shard
from streams.metrics import Metrics
from streams.settings import StreamsSettings
from streams.supervision.progress import Progress


def make_settings(tmp_path: Path, **overrides: Any) -> StreamsSettings:
    return StreamsSettings(home=tmp_path, topic_prefix="x.", **overrides)


def supervision() -> Supervision:
    return Supervision(Progress(60), Metrics(CollectorRegistry()), is_replaced=lambda: False, end=pytest.fail)


def make_faust_app(settings: StreamsSettings, world: Any) -> faust.App:
    return make_app(settings, world.shelf, supervision()).app


def test_the_app_is_set_up_for_at_least_once_without_surprises(tmp_path: Path, world: Any) -> None:
    conf = make_faust_app(make_settings(tmp_path, kafka_bootstrap="a:1,b:2"), world).conf
    assert conf.id == "x.streams"
    assert [str(each) for each in conf.broker] == ["kafka://a:1", "kafka://b:2"]
    assert (conf.processing_guarantee.value, conf.consumer_auto_offset_reset) == ("at_least_once", "earliest")
    assert (conf.topic_allow_declare, conf.topic_disable_leader) == (False, True)
    assert (conf.web_enabled, conf.stream_wait_empty) == (False, False)


def test_every_topic_that_is_read_has_one_agent_that_ends_the_process_when_it_fails(tmp_path: Path, world: Any) -> None:
    agents = make_faust_app(make_settings(tmp_path), world).agents
    assert set(agents) == {"x.person.records", "x.person.labels", "x.predictions"}
    assert {each.concurrency for each in agents.values()} == {1}
    assert {each.supervisor_strategy.__name__ for each in agents.values()} == {"CrashingSupervisor"}


def test_kafka_security_reaches_faust(tmp_path: Path) -> None:
    assert credentials(make_settings(tmp_path)) is None
    assert isinstance(credentials(make_settings(tmp_path, kafka_security_protocol="SSL")), faust.SSLCredentials)
    account = {"kafka_sasl_username": "u", "kafka_sasl_password": SecretStr("p")}
    sasl = credentials(make_settings(tmp_path, kafka_security_protocol="SASL_SSL", **account))
    assert (sasl.username, sasl.password, sasl.mechanism.value) == ("u", "p", "SCRAM-SHA-512")
    assert (sasl.protocol.value, sasl.ssl_context is None) == ("SASL_SSL", False)
    plain = credentials(make_settings(tmp_path, kafka_security_protocol="SASL_PLAINTEXT", **account))
    assert plain.protocol.value == "SASL_PLAINTEXT"


def test_a_killed_workers_partitions_move_within_fifteen_seconds(tmp_path: Path, world: Any) -> None:
    """Promise: silence is noticed after the session's time, and the group waits for nobody longer than it takes to rejoin."""
    conf = make_faust_app(make_settings(tmp_path), world).conf
    assert conf.broker_session_timeout + conf.broker_rebalance_timeout < 15
    assert conf.broker_heartbeat_interval * 2 < conf.broker_session_timeout


def test_a_name_reaches_the_group_and_must_be_one_that_kafka_takes(tmp_path: Path, world: Any) -> None:
    assert make_faust_app(make_settings(tmp_path, streams_instance="a-1"), world).conf.consumer_group_instance_id == "a-1"
    with pytest.raises(ValidationError):
        make_settings(tmp_path, streams_instance="a/b")


class Broker:
    """An app at generation 3, whose commits are counted, and events of it."""

    consumer_generation_id = 3

    def __init__(self) -> None:
        self.consumer = self
        self.acknowledged: list[int] = []
        self.committed: list[list[int]] = []

    async def commit(self) -> None:
        self.committed.append(list(self.acknowledged))

    def event(self, offset: int, generation: int = 3) -> Any:
        message = SimpleNamespace(
            topic="person.records", partition=0, offset=offset, timestamp=1.0, key=b"k", value=b"v", headers=(),
            generation_id=generation,
        )  # fmt: skip
        return SimpleNamespace(message=message, ack=lambda: self.acknowledged.append(offset))


def path_of(broker: Broker, world: Any, handle: Callable[[Sequence[Message]], None] = lambda _: None) -> _Path:
    def handler(messages: Sequence[Message], *_: Any) -> Applied:
        handle(messages)
        return Applied(accepted=len(messages))

    path = _Path(broker, "person.records", handler, world.shelf, world.features, supervision=supervision())
    path.take_over([Shard("person.records", 0)])
    return path


async def test_a_stop_waits_for_the_batch_in_hand_commits_it_and_takes_no_other(world: Any) -> None:
    broker, begun, go_on = Broker(), threading.Event(), threading.Event()

    def handle(_: Any) -> None:
        begun.set()
        go_on.wait(5)

    path = path_of(broker, world, handle)
    in_hand = asyncio.create_task(path.handle([broker.event(1), broker.event(2)]))
    await asyncio.to_thread(begun.wait, 5)
    finishing = asyncio.create_task(Flow(broker, [path]).finish())
    await asyncio.sleep(0)
    following = asyncio.create_task(path.handle([broker.event(3)]))
    go_on.set()
    await asyncio.gather(in_hand, finishing, following)
    assert broker.committed == [[1, 2]]
    assert broker.acknowledged == [1, 2]


async def test_a_stop_does_not_wait_for_a_batch_for_ever(world: Any) -> None:
    broker, begun, go_on = Broker(), threading.Event(), threading.Event()

    def handle(_: Any) -> None:
        begun.set()
        go_on.wait(5)

    path = path_of(broker, world, handle)
    in_hand = asyncio.create_task(path.handle([broker.event(1)]))
    await asyncio.to_thread(begun.wait, 5)
    await Flow(broker, [path], finish_within_s=0.05).finish()
    assert broker.committed == [[]]
    go_on.set()
    await in_hand


async def test_a_stop_does_not_wait_while_a_store_is_caught_up(world: Any) -> None:
    broker, begun, go_on = Broker(), threading.Event(), threading.Event()

    class Slow:
        """An online store whose watermark is long in coming."""

        def at(self, _epoch: int) -> "Slow":
            return self

        def server(self, *_: Any) -> str:
            return "slow"

        def watermark(self, *_: Any) -> int:
            begun.set()
            go_on.wait(5)
            return -1

    world.send({"person_id": "ann"}, partition=0)
    shelf = SimpleNamespace(**vars(world.shelf) | {"online": Slow()})
    shelf.at = lambda _epoch: shelf
    path = path_of(broker, SimpleNamespace(shelf=shelf, features=world.features))
    recovering = asyncio.create_task(path.recover())
    await asyncio.to_thread(begun.wait, 5)
    async with asyncio.timeout(2):
        await Flow(broker, [path]).finish()
    go_on.set()
    await recovering


async def test_what_came_before_a_rebalance_is_neither_handled_nor_acknowledged(world: Any) -> None:
    broker, seen = Broker(), []
    path = path_of(broker, world, seen.append)
    await path.handle([broker.event(1, generation=2)])
    await path.hand_over({Shard("person.records", 0)})
    await path.handle([broker.event(2)])
    assert (seen, broker.acknowledged) == ([], [])
