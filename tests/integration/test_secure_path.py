"""The whole path on a Kafka with SASL over TLS and a Redis with TLS and a password, and what is told to whom is refused."""

import asyncio
import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from feature_repo.labels import LEVELS
from feature_repo.online.reader import ClientSource, OnlineReader, connect_async
from feature_repo.online.rows import OnlineWriter, connect
from feature_repo.predictions import LoggedPrediction
from feature_repo.store import apply_definitions, open_store
from feature_repo.views import FEATURE_SERVICE
from habitus.cli import app
from predictor.adapters.kafka_log import prediction_log
from runtime.errors import AccessRefused, Unavailable
from runtime.kafka import consumer, ensure_topics, producer
from runtime.settings import Settings
from runtime.topics import Topics
from streams.settings import StreamsSettings
from tests import secure
from tests.online import NOON
from tests.scene import STOPS_WITHIN_S, Scene, person, require_nothing_lost, send_people

PEOPLE = 60
WRONG = "wrong-Sesame"
TRIES = 5
TOLD_WITHIN_MS = 800  # instead of the five seconds that a real client tries
run = CliRunner()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> secure.Certificates:
    return secure.make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory, certificates: secure.Certificates) -> Iterator[secure.SecureKafka]:
    with secure.running_kafka(tmp_path_factory.mktemp("kafka"), certificates) as running:
        yield running


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory, certificates: secure.Certificates) -> Iterator[secure.SecureRedis]:
    with secure.running_redis(tmp_path_factory.mktemp("redis"), certificates) as running:
        yield running


@pytest.fixture
def secured(
    kafka: secure.SecureKafka,
    redis: secure.SecureRedis,
    certificates: secure.Certificates,
    settings_for: Callable[..., StreamsSettings],
) -> dict[str, Any]:
    """Settings that are let in by both."""
    account = {"kafka_sasl_username": secure.USER, "kafka_sasl_password": secure.KAFKA_PASSWORD}
    tls = {"kafka_security_protocol": "SASL_SSL", "kafka_ssl_cafile": certificates.ca}
    return {"kafka_bootstrap": kafka.sasl_ssl, "redis_url": redis.url(), "partitions": 2, **account, **tls}


@pytest.fixture
def stage(secured: dict[str, Any], settings_for: Callable[..., StreamsSettings], tmp_path: Path) -> Iterator[Scene]:
    """A stage on the secure servers."""
    made = Scene(settings_for(StreamsSettings, **secured), tmp_path / "worker.log")
    made.log.touch()
    yield made
    for worker in made.started:
        worker.kill()
        worker.wait(timeout=STOPS_WITHIN_S)


def environment(scene: Scene, secured: dict[str, Any]) -> dict[str, str]:
    """All settings as a shell would have them."""
    named = {f"HABITUS_{name.upper()}": str(value) for name, value in secured.items()}
    return scene.environment | named | {"HABITUS_HOME": str(scene.settings.home), "HABITUS_LOG_LEVEL": "TRACE"}


def require_no_secret(text: str, *more: str) -> None:
    """No secret of ours stands in `text`."""
    assert [secret for secret in (*secure.SECRETS, *more) if secret in text] == []


def test_a_worker_loses_nothing_on_secure_servers_and_never_shows_a_secret(stage: Scene, secured: dict[str, Any]) -> None:
    """Promise: records in, history and online store out, checked by the commands; all of it over TLS and with passwords."""
    env = environment(stage, secured)
    ensure_topics(stage.settings, stage.topics.all())
    apply_definitions(stage.settings)
    send_people(stage, PEOPLE)
    with producer(stage.settings) as sender:
        sender.send(stage.topics.records.name, key=b"bad", value=json.dumps(person(1, Age=-3)).encode())
        sender.flush()
    stage.start("tests.loud_worker", **env)
    stage.drain(stage.topics.records.name)
    require_nothing_lost(stage, PEOPLE + 1, dead=1)
    assert stage.worker is not None
    require_no_secret(" ".join(psutil.Process(stage.worker.pid).cmdline()))
    assert open_store(stage.settings).get_online_features(
        open_store(stage.settings).get_feature_service(FEATURE_SERVICE), [{"person_id": "p1"}]
    ).to_dict()["person_id"] == ["p1"]

    said = {command: run.invoke(app, command.split(), env=env) for command in COMMANDS}
    assert json.loads(said["verify --all --json"].stdout)["mismatched"] == 0
    assert json.loads(said["dlq ls --json"].stdout)["by_class"] == {"invalid_record": 1}
    status = json.loads(said["status --json"].stdout)
    assert (status["services"]["redis"]["state"], status["lag"]["person.records"]) == ("external", 0)
    findings = {each["check"]: each for each in json.loads(said["doctor --json"].stdout)["findings"]}
    assert all(findings[f"{part} {what}"]["ok"] for part in ("kafka", "redis") for what in ("access", "security"))

    log = stage.log.read_text()
    assert all(f"DEBUG   streams {library}" in log or library in log for library in ("aiokafka", "faust", "mode"))
    require_no_secret(log + "".join(each.output for each in said.values()) + repr(stage.settings) + str(stage.settings))


COMMANDS = ("verify --all --json", "dlq ls --json", "status --json", "doctor --json")


@pytest.mark.parametrize("mechanism", ["PLAIN", "certificate"])
def test_plain_and_client_certificates_open_kafka_too(
    mechanism: str, kafka: secure.SecureKafka, certificates: secure.Certificates, secured: dict[str, Any]
) -> None:
    plain = secured | {"kafka_sasl_mechanism": "PLAIN", "kafka_sasl_password": secure.PLAIN_PASSWORD}
    mutual = {
        "kafka_bootstrap": kafka.mutual_tls,
        "kafka_security_protocol": "SSL",
        "kafka_ssl_cafile": certificates.ca,
        "kafka_ssl_certfile": certificates.client_cert,
        "kafka_ssl_keyfile": certificates.client_key,
        "kafka_ssl_key_password": secure.KEY_PASSWORD,
    }
    consumer(Settings(**(plain if mechanism == "PLAIN" else mutual))).close()


def kafka_refusals(kafka: secure.SecureKafka, certificates: secure.Certificates) -> dict[str, tuple[dict[str, Any], str]]:
    """What is set otherwise, and the setting that is to be named."""
    mutual = {"kafka_bootstrap": kafka.mutual_tls, "kafka_security_protocol": "SSL"}
    return {
        "password": ({"kafka_sasl_password": WRONG}, "HABITUS_KAFKA_SASL_PASSWORD"),
        "mechanism": ({"kafka_sasl_mechanism": "SCRAM-SHA-256"}, "HABITUS_KAFKA_SASL_MECHANISM"),
        "authority": ({"kafka_ssl_cafile": certificates.other_ca}, "HABITUS_KAFKA_SSL_CAFILE"),
        "no authority": ({"kafka_ssl_cafile": None}, "HABITUS_KAFKA_SSL_CAFILE"),
        "name": ({"kafka_bootstrap": kafka.sasl_ssl_by_number}, "HABITUS_KAFKA_BOOTSTRAP"),
        "no TLS here": (
            {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_ssl_cafile": None},
            "HABITUS_KAFKA_SECURITY_PROTOCOL",
        ),
        "no TLS there": ({"kafka_bootstrap": kafka.plaintext}, "HABITUS_KAFKA_BOOTSTRAP"),
        "no certificate": (
            mutual | {"kafka_sasl_username": None, "kafka_sasl_password": None},
            "HABITUS_KAFKA_SSL_CERTFILE",
        ),
    }


@pytest.mark.parametrize(
    "wrong", ["password", "mechanism", "authority", "no authority", "name", "no TLS here", "no TLS there", "no certificate"]
)
def test_kafkas_refusal_names_the_setting_and_no_secret(
    wrong: str, kafka: secure.SecureKafka, certificates: secure.Certificates, secured: dict[str, Any], caplog: Any
) -> None:
    caplog.set_level("DEBUG")
    otherwise, named = kafka_refusals(kafka, certificates)[wrong]
    refused = refusal(Settings(**(secured | otherwise)), named)
    # Where it is certain, nobody waits. A server that merely hung up may only be starting.
    assert isinstance(refused, AccessRefused) or "it hung up" in str(refused) or wrong == "no TLS there"
    require_no_secret("".join(traceback.format_exception(refused)) + caplog.text, WRONG)


def refusal(settings: Settings, named: str) -> Unavailable:
    """How the broker refuses us, with the setting `named`: a busy one may let a try or two time out first, as in a worker."""
    for _ in range(TRIES):
        with pytest.raises(Unavailable) as caught:
            consumer(settings, bootstrap_timeout_ms=TOLD_WITHIN_MS)
        if named in caught.value.remedy:
            return caught.value
    pytest.fail(f"{caught.value} does not name {named}")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"password": WRONG}, "correct both in HABITUS_REDIS_URL"),
        ({"user": "stranger"}, "correct both in HABITUS_REDIS_URL"),
        ({"ca": "other_ca"}, "ssl_ca_certs"),
        ({"host": "127.0.0.1"}, "name it in HABITUS_REDIS_URL"),
        ({"scheme": "redis"}, "rediss://"),
    ],
)
def test_redis_refusal_names_the_setting_and_no_secret(
    wrong: dict[str, str], named: str, redis: secure.SecureRedis, certificates: secure.Certificates
) -> None:
    ca = {"ca": certificates.other_ca} if "ca" in wrong else {}
    url = redis.url(**({name: value for name, value in wrong.items() if name not in {"ca", "scheme"}} | ca))
    if "scheme" in wrong:
        url = url.replace("rediss://", "redis://").partition("?")[0]
    settings = Settings(redis_url=url)
    for look in (look_once, look_once_async):
        with pytest.raises(Unavailable) as caught:
            look(settings)
        assert named in caught.value.remedy
        assert isinstance(caught.value, AccessRefused) is ("scheme" not in wrong)
        require_no_secret("".join(traceback.format_exception(caught.value)), WRONG)


def look_once(settings: Settings) -> None:
    with connect(settings) as client:
        OnlineWriter(client, "p").refuse_eviction()


def look_once_async(settings: Settings) -> None:
    async def look() -> None:
        async with connect_async(settings) as client:
            await OnlineReader(ClientSource(client), "p").read(["p1"], ["bmi"])

    asyncio.run(look())


def test_a_worker_with_a_wrong_password_ends_and_says_which(stage: Scene, secured: dict[str, Any]) -> None:
    """Promise: it neither waits for ever nor shows what it tried, whatever the level of its log."""
    stage.start("tests.loud_worker", **environment(stage, secured | {"kafka_sasl_password": WRONG}))
    assert stage.await_end() == 1
    log = stage.log.read_text()
    assert "correct HABITUS_KAFKA_SASL_USERNAME, HABITUS_KAFKA_SASL_PASSWORD" in log
    require_no_secret(log, WRONG)


def test_the_prediction_log_reaches_a_secure_kafka_and_shows_no_secret(
    secured: dict[str, Any], settings_for: Callable[..., Settings], capfd: pytest.CaptureFixture[str]
) -> None:
    """Promise: the predictor's own client takes the same settings as every other."""
    settings = settings_for(Settings, **secured)
    topic = Topics(settings).predictions
    log = prediction_log(settings, capacity=10)
    ensure_topics(settings, [topic])
    log.put(an_entry())
    log.close()
    assert log.dropped == 0
    with closing(consumer(settings, topic.name, consumer_timeout_ms=20_000)) as reader:
        assert next(reader).key == b"ann"
    told = capfd.readouterr()
    require_no_secret(told.out + told.err)


def an_entry() -> LoggedPrediction:
    return LoggedPrediction(
        request_id="r1",
        person_id="ann",
        model_name="obesity-level",
        model_version="1",
        model_alias="champion",
        obesity_level=LEVELS[0],
        probabilities=dict.fromkeys(LEVELS, 1 / len(LEVELS)),
        features={},
        event_timestamp=NOON,
        feature_topic=None,
        feature_partition=None,
        feature_offset=None,
        served_at=NOON,
        shadow=False,
    )
