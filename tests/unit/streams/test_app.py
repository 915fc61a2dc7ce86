"""Faust is set up so that it neither acknowledges, declares nor decodes anything by itself."""

from pathlib import Path
from typing import Any

import faust
from pydantic import SecretStr

from streams.app import credentials, make_app
from streams.settings import StreamsSettings


def make_settings(tmp_path: Path, **overrides: Any) -> StreamsSettings:
    return StreamsSettings(home=tmp_path, topic_prefix="x.", **overrides)


def test_the_app_is_set_up_for_at_least_once_without_surprises(tmp_path: Path, world: Any) -> None:
    conf = make_app(make_settings(tmp_path, kafka_bootstrap="a:1,b:2"), world.shelf).conf
    assert conf.id == "x.streams"
    assert [str(each) for each in conf.broker] == ["kafka://a:1", "kafka://b:2"]
    assert (conf.processing_guarantee.value, conf.consumer_auto_offset_reset) == ("at_least_once", "earliest")
    assert (conf.topic_allow_declare, conf.topic_disable_leader) == (False, True)
    assert (conf.web_enabled, conf.stream_wait_empty) == (False, False)


def test_every_topic_that_is_read_has_one_agent_that_ends_the_process_when_it_fails(tmp_path: Path, world: Any) -> None:
    agents = make_app(make_settings(tmp_path), world.shelf).agents
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
