"""Apache Kafka, one KRaft node: its jars, its configuration, its storage, its process.

The jars come from Maven through `jgo`, once; they serve every home of this user.
"""

import base64
import fcntl
import os
import shutil
import subprocess
import uuid
from pathlib import Path

from habitus.stack.home import Home, cache_folder, write_whole
from habitus.stack.java import Java
from habitus.stack.parts import Part
from habitus.stack.ports import LOCALHOST
from runtime.errors import HabitusError

VERSION = "4.1.1"
# Without a binding of SLF4J, Kafka is silent even about why it stops.
_ARTIFACTS = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
_MEMORY = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC")
_QUICK_TOOL = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_FORMAT_TIMEOUT_S = 60


def jars() -> tuple[Path, ...]:
    """Kafka's jars, fetched at the first call. Raises `HabitusError` if they cannot be fetched."""
    folder = cache_folder() / "kafka"
    listing = folder / f"{VERSION}.jars"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two stacks that start at once fetch once
            return _listed(listing) or _fetch(folder, listing)
    except OSError as error:
        raise HabitusError(f"{folder}: {error}", remedy="set HABITUS_CACHE to a folder of yours") from error


def _listed(listing: Path) -> tuple[Path, ...]:
    if not listing.exists():
        return ()
    found = tuple(listing.parent / line for line in listing.read_text().splitlines())
    return found if all(jar.exists() for jar in found) else ()


def _fetch(folder: Path, listing: Path) -> tuple[Path, ...]:
    try:
        import jgo
    except ImportError as error:
        raise HabitusError("the package jgo is missing", remedy="pip install 'habitus[local]'") from error
    try:
        found = tuple(Path(jar) for jar in jgo.build(_ARTIFACTS, cache_dir=folder).all_jars)
    except (OSError, RuntimeError, ValueError) as error:
        raise HabitusError(
            f"Kafka's jars could not be fetched from Maven: {error}",
            remedy="check the network, or set HABITUS_KAFKA_BOOTSTRAP to a Kafka that runs",
        ) from error
    write_whole(listing, "".join(f"{os.path.relpath(jar, folder)}\n" for jar in found))
    return found


def part(home: Home, java: Java, port: int, controller_port: int) -> Part:
    """The broker as a process; writes its configuration and, the first time, formats its storage."""
    classpath = os.pathsep.join(str(jar) for jar in jars())
    folder = home.root / "kafka"
    folder.mkdir(exist_ok=True)
    write_whole(folder / "server.properties", properties(port, controller_port, "kafka/data"))
    if not (folder / "data").exists():
        _format(folder, java, classpath)
    return Part(
        name="kafka",
        argv=(str(java.path), *_MEMORY, *_logging("warn"), "-cp", classpath, "kafka.Kafka", "kafka/server.properties"),
        address=f"{LOCALHOST}:{port}",
        port=port,
        stop_s=20,
    )


def properties(port: int, controller_port: int, data: str) -> str:
    """The node's configuration: broker and controller in one, on localhost alone, topics made by nobody but us."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOCALHOST}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOCALHOST}:{port},CONTROLLER://{LOCALHOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOCALHOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": "0",
        # One node: every internal topic has one copy.
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _format(folder: Path, java: Java, classpath: str) -> None:
    """Format beside the final place and move: a format that was interrupted leaves nothing that looks finished."""
    draft = folder / "data.new"
    shutil.rmtree(draft, ignore_errors=True)
    write_whole(folder / "format.properties", properties(1, 2, "kafka/data.new"))
    tool = [str(java.path), *_QUICK_TOOL, *_logging("error"), "-cp", classpath, "kafka.tools.StorageTool"]
    arguments = ["format", "-t", _cluster_id(), "-c", "kafka/format.properties"]
    try:
        subprocess.run(
            [*tool, *arguments],
            cwd=folder.parent,
            check=True,
            capture_output=True,
            text=True,
            timeout=_FORMAT_TIMEOUT_S,
        )
    except subprocess.CalledProcessError as error:
        raise HabitusError(
            f"Kafka's storage could not be formatted: {error.stderr.strip()[-500:]}", remedy="see `habitus doctor`"
        ) from error
    draft.rename(folder / "data")


def _cluster_id() -> str:
    """Sixteen random bytes in base64; never a dash at first, which Kafka's tool would take for an option."""
    return "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


def _logging(level: str) -> tuple[str, ...]:
    options = {"defaultLogLevel": level, "showDateTime": "true", "dateTimeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSXXX"}
    return tuple(f"-Dorg.slf4j.simpleLogger.{name}={value}" for name, value in options.items())
