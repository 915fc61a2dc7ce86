"""What could keep the stack from running on this machine, and the remedy for each."""

import difflib
import importlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from pydantic import ValidationError

from habitus.stack.endpoints import external_addresses
from habitus.stack.home import Home, cache_folder
from habitus.stack.java import find_java
from habitus.stack.parts import SERVICES
from habitus.stack.ports import USUAL, is_free
from habitus.stack.redis import find_redis
from habitus.stack.supervision import Supervisor
from habitus.stack.survivors import HOME_MARK, PART_MARK
from runtime.errors import HabitusError
from runtime.settings import Settings

_PREFIX = "HABITUS_"
_NO_SETTINGS = frozenset({"HABITUS_CACHE", "HABITUS_DATA", HOME_MARK, PART_MARK})
_PYTHONS = ((3, 11), (3, 13))
_NEEDED_GB = 1.0  # Kafka's jars, its first segments and a few models
_PACKAGES = ("supervisor", "jgo")
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Finding:
    """One check. A finding that is not `ok` and `required` keeps the stack from running; else it is worth knowing."""

    check: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = True


def examine(home: Home) -> list[Finding]:
    """Every check, in the order in which one would mend things."""
    external = external_addresses(home.remembered_ports())
    findings = [python(sys.version_info[:2]), *_packages()]
    if "kafka" not in external:
        findings.append(_found("java", lambda: "{0.path} (version {0.version})".format(find_java())))
    if "redis" not in external:
        findings.append(_found("redis", lambda: str(find_redis())))
    findings += [writable("home", home.root, "HABITUS_HOME"), writable("cache", cache_folder(), "HABITUS_CACHE")]
    findings += [
        disk(home.root),
        *ports(home),
        *settings(),
        *unknown_variables(os.environ),
        *security(external),
        data(os.environ),
    ]
    return findings


def python(version: tuple[int, ...]) -> Finding:
    """Whether this Python is one that we run on."""
    told = ".".join(map(str, version))
    return Finding("python", _PYTHONS[0] <= version <= _PYTHONS[1], told, "use Python 3.11, 3.12 or 3.13")


def _packages() -> Iterator[Finding]:
    for name in _PACKAGES:
        there = importlib.util.find_spec(name) is not None
        yield Finding(f"package {name}", there, "installed" if there else "missing", "pip install 'habitus[local]'")


def _found(check: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(check, ok=True, detail=look())
    except HabitusError as error:
        return Finding(check, ok=False, detail=str(error), remedy=error.remedy)


def writable(check: str, folder: Path, variable: str) -> Finding:
    """Whether files can be made in `folder`, or, if it is not there yet, where it would be made."""
    there = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            return Finding(check, ok=True, detail=str(folder))
    except OSError as error:
        return Finding(check, ok=False, detail=f"{there}: {error.strerror}", remedy=f"set {variable} to a folder of yours")


def disk(folder: Path) -> Finding:
    """Whether there is room for a stack in `folder`."""
    free_gb = shutil.disk_usage(_nearest(folder)).free / 1e9
    remedy = "free some space, or set HABITUS_HOME to a folder on another disk"
    return Finding("disk", free_gb >= _NEEDED_GB, f"{free_gb:.1f} GB free (at least {_NEEDED_GB:.0f} needed)", remedy)


def _nearest(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.is_dir())


def ports(home: Home, free: Callable[[int], bool] = is_free) -> Iterator[Finding]:
    """Whether the ports that the stack prefers are free, or its own. Never required: others are chosen."""
    preferred = dict(USUAL) | home.remembered_ports()
    running = Supervisor(home).is_running()
    for name, port in preferred.items():
        ours = running and name in home.remembered_ports()
        available = ours or free(port)
        detail = f"{port}, in use by this stack" if ours else f"{port} is {'free' if available else 'taken by another program'}"
        yield Finding(f"port {name}", available, detail, "nothing to do: `habitus up` chooses a free one", required=False)


def settings_classes() -> list[type[Settings]]:
    """The settings that all processes share, and those of each service that is installed."""
    classes = [Settings]
    for name in SERVICES:
        if importlib.util.find_spec(name) and importlib.util.find_spec(f"{name}.settings"):
            module = importlib.import_module(f"{name}.settings")
            classes += [each for each in vars(module).values() if _is_own_settings(each, module.__name__)]
    return classes


def _is_own_settings(value: object, module: str) -> bool:
    return isinstance(value, type) and issubclass(value, Settings) and value.__module__ == module


def settings() -> Iterator[Finding]:
    """Whether every value in the environment fits. Never shows a value: it may be a secret."""
    for each in settings_classes():
        owner = each.__module__.partition(".")[0]
        try:
            each()
        except ValidationError as error:
            for problem in error.errors(include_input=False, include_url=False):
                name = f"{_PREFIX}{problem['loc'][0]}".upper() if problem["loc"] else each.__name__
                yield Finding(f"settings {owner}", ok=False, detail=f"{name}: {problem['msg']}", remedy=f"correct {name}")
        else:
            yield Finding(f"settings {owner}", ok=True, detail="every value fits")


def security(external: Container[str]) -> Iterator[Finding]:
    """How the user's own Kafka and Redis are protected, and whether they let us in. Shows neither user names nor secrets."""
    try:
        configured = Settings()
    except ValidationError:
        return  # which `settings` tells
    if "kafka" in external:
        yield kafka_protection(configured)
        yield _found("kafka access", lambda: _enter_kafka(configured))
    if "redis" in external:
        yield redis_protection(configured)
        yield _found("redis access", lambda: _enter_redis(configured))


def kafka_protection(configured: Settings) -> Finding:
    """Whether what goes to and from Kafka can be read or changed on the way. Never required."""
    protocol = configured.kafka_security_protocol
    if protocol.endswith("SSL"):
        by = f" by {configured.kafka_sasl_mechanism}" if protocol == "SASL_SSL" else ""
        trusted = configured.kafka_ssl_cafile or "the system's authorities"
        return Finding("kafka security", ok=True, detail=f"{protocol}{by}; trusts {trusted}", required=False)
    hosts = {urlsplit(f"//{each.strip()}").hostname for each in configured.kafka_bootstrap.split(",")}
    detail = f"{protocol}: not encrypted{', on this machine alone' if hosts <= _HERE else ''}"
    remedy = "set HABITUS_KAFKA_SECURITY_PROTOCOL to SASL_SSL, and HABITUS_KAFKA_BOOTSTRAP to the brokers' TLS port"
    return Finding("kafka security", hosts <= _HERE, detail, remedy, required=False)


def redis_protection(configured: Settings) -> Finding:
    """As `kafka_protection`, for Redis."""
    url = urlsplit(configured.redis_url.get_secret_value())
    options = {name: value.lower() for name, value in parse_qsl(url.query)}
    is_checked = options.get("ssl_cert_reqs", "required") == "required" and options.get("ssl_check_hostname", "true") == "true"
    is_here = url.scheme == "unix" or url.hostname in _HERE
    account = "with a password" if url.password else "without a password"
    if url.scheme != "rediss":
        detail = f"not encrypted, {account}{', on this machine alone' if is_here else ''}"
        return Finding("redis security", is_here, detail, "use rediss:// in HABITUS_REDIS_URL", required=False)
    detail = f"TLS, {account}; {'it must prove its name' if is_checked else 'its certificate or name is NOT VERIFIED'}"
    remedy = "leave ssl_cert_reqs and ssl_check_hostname out of HABITUS_REDIS_URL, and put a user and a password into it"
    return Finding("redis security", is_checked and bool(url.password), detail, remedy, required=False)


def _enter_kafka(configured: Settings) -> str:
    from runtime.kafka import admin

    admin(configured).close()
    return "it lets us in"


def _enter_redis(configured: Settings) -> str:
    from feature_repo.online.rows import OnlineWriter, connect

    client = connect(configured)
    try:
        OnlineWriter(client, configured.project).refuse_eviction()
    finally:
        client.close()
    return "it lets us in, and never evicts"


def unknown_variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    """A finding for each `HABITUS_` variable that nobody reads, with the name that was perhaps meant."""
    fields = {name for each in settings_classes() for name in each.model_fields}
    known = {f"{_PREFIX}{name}".upper() for name in fields} | _NO_SETTINGS
    for name in sorted(name for name in environ if name.startswith(_PREFIX) and name not in known):
        near = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean {near[0]}?" if near else "remove it, or see docs for the settings"
        yield Finding("variable", ok=False, detail=f"{name} is not a setting", remedy=remedy, required=False)


def data(environ: Mapping[str, str]) -> Finding:
    """Whether `HABITUS_DATA`, if set, holds what it should. Never required: there are other sources."""
    named = environ.get("HABITUS_DATA")
    if not named:
        return Finding("data", ok=True, detail="HABITUS_DATA is not set: cache, download or simulation")
    missing = [name for name in ("train.csv", "current.csv") if not (Path(named).expanduser() / name).is_file()]
    detail = f"{named} lacks {' and '.join(missing)}" if missing else named
    return Finding("data", not missing, detail, "point HABITUS_DATA to a folder that holds both", required=False)
