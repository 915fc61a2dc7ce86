"""Faust is set up so that it neither acknowledges, declares nor decodes anything by itself."""

from pathlib import Path
from typing import Any

import faust
import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr, ValidationError

from streams.app import Supervision, credentials, make_app
from streams.metrics import Metrics
from streams.progress import Progress
from streams.settings import StreamsSettings


def make_settings(tmp_path: Path, **overrides: Any) -> StreamsSettings:
    return StreamsSettings(home=tmp_path, topic_prefix="x.", **overrides)


def make_faust_app(settings: StreamsSettings, world: Any) -> faust.App:
    supervision = Supervision(Progress(60), Metrics(CollectorRegistry()), is_replaced=lambda: False, end=pytest.fail)
    return make_app(settings, world.shelf, supervision).app


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
