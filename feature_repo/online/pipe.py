"""One connection to a Redis server over which asyncio tasks read without waiting for one another's answers.

Redis answers in the order in which it was asked, so a call writes its commands at once and gets the next answers that are not
yet spoken for. A client of redis-py takes a connection of its own for each call, and four times the processor.

Place in the flow: `rows.OnlineReader` of the predictor reads through it; a cluster, and whoever writes, uses redis-py.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import hiredis
from redis import asyncio as redis_asyncio
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as TooLate

from feature_repo.online.connections import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S
from runtime.refusals import redis_failure

_TRIES = 2  # reading is harmless to repeat, and a server closes a connection that was idle for long
_DEFAULT_PORT = 6379
_PING = b"*1\r\n$4\r\nPING\r\n"


class Pipe:
    """A connection to the server of `url`, made when first used and again after it broke.

    `answer_timeout_s` bounds each call; where an answer does not come in time the connection is given up, and all who wait on it.
    """

    def __init__(self, url: str, *, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._pool = redis_asyncio.ConnectionPool.from_url(url)  # which reads the URL, and connects to nothing
        self._answer_timeout_s = answer_timeout_s
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()

    async def hmget(self, keys: Sequence[bytes], fields: Sequence[bytes]) -> list[list[bytes | None]]:
        """The `fields` of each of `keys`, None for an absent one. Raises `Unavailable` if Redis does not answer."""
        head, tail = _hmget(tuple(fields))
        commands = b"".join([b"%b$%d\r\n%b%b" % (head, len(key), key, tail) for key in keys])
        return await self._call(commands, len(keys))

    async def ping(self) -> None:
        """Raises `Unavailable` if Redis does not answer."""
        await self._call(_PING, 1)

    async def close(self) -> None:
        """Close the connection; who waits gets `Unavailable`."""
        if self._link is not None:
            self._link.give_up(Disconnected("closed by us"))

    async def _call(self, commands: bytes, answers: int) -> list[Any]:
        for attempt in range(1, _TRIES + 1):
            try:
                async with asyncio.timeout(self._answer_timeout_s):
                    link = await self._linked()
                    return await link.call(commands, answers)
            except TimeoutError:
                self._give_up(TooLate("no answer in time"))
                raise redis_failure(TooLate(f"no answer within {self._answer_timeout_s:g} s")) from None
            except (RedisError, OSError) as error:
                if attempt == _TRIES or not isinstance(error, Disconnected):
                    raise redis_failure(error) from error
        raise AssertionError("the last try answers or raises")

    def _give_up(self, why: RedisError) -> None:
        if self._link is not None:
            self._link.give_up(why)

    async def _linked(self) -> "_Link":
        if self._link is not None and self._link.is_open:
            return self._link
        async with self._connecting:
            if self._link is None or not self._link.is_open:
                self._link = await self._connect()
        return self._link

    async def _connect(self) -> "_Link":
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                link = await self._open()
                await self._introduce(link)
                return link
        except TimeoutError:
            raise Disconnected(f"no connection within {CONNECT_TIMEOUT_S:g} s") from None

    async def _open(self) -> "_Link":
        told, loop = self._pool.connection_kwargs, asyncio.get_running_loop()
        if path := told.get("path"):
            _, link = await loop.create_unix_connection(_Link, path)
        else:
            where = told.get("host", "localhost"), int(told.get("port", _DEFAULT_PORT))
            _, link = await loop.create_connection(_Link, *where, ssl=self._tls())
        return link

    async def _introduce(self, link: "_Link") -> None:
        try:
            for command in _introduction(self._pool.connection_kwargs):
                await link.call(_packed(command), 1)
        except BaseException:
            link.give_up(Disconnected("not let in"))
            raise

    def _tls(self) -> Any:
        """The context that redis-py makes of the URL's options; None where the URL asks for no TLS."""
        if not issubclass(self._pool.connection_class, redis_asyncio.SSLConnection):
            return None
        return redis_asyncio.SSLConnection(**self._pool.connection_kwargs).ssl_context.get()


class _Link(asyncio.Protocol):
    """A connection, and the calls that wait for answers on it, in order."""

    def __init__(self) -> None:
        self.is_open = False
        self._reader = hiredis.Reader(protocolError=Disconnected, replyError=ResponseError)
        self._waiting: deque[_Call] = deque()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # of a connection it is one to write to
        self.is_open = True

    async def call(self, commands: bytes, answers: int) -> list[Any]:
        """The next `answers` answers, to `commands`. Raises the first that is an error, or why the connection ended."""
        while not self._may_write.is_set():  # the server takes less than we send: who asks waits
            await self._may_write.wait()
        if not self.is_open:
            raise Disconnected("Connection closed by server.")
        call = _Call(answers)
        self._waiting.append(call)
        self._transport.write(commands)
        found: list[Any] = await call.done
        for answer in found:
            if isinstance(answer, Exception):
                raise answer
        return found

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not False:
                call = self._waiting[0]
                call.found.append(answer)
                if len(call.found) == call.answers:
                    self._waiting.popleft().finish()
        except (Disconnected, IndexError) as error:
            self.give_up(Disconnected(f"the answers make no sense ({error})"))

    def give_up(self, why: RedisError) -> None:
        """End the connection and every call that waits on it."""
        self.is_open = False
        self._may_write.set()
        self._transport.abort()
        while self._waiting:
            self._waiting.popleft().fail(why)

    def connection_lost(self, error: Exception | None) -> None:
        self.give_up(Disconnected(str(error) if error else "Connection closed by server."))

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()


class _Call:
    """Answers that are waited for. One that nobody waits for any more still takes its answers off the connection."""

    __slots__ = ("answers", "done", "found")

    def __init__(self, answers: int) -> None:
        self.answers = answers
        self.found: list[Any] = []
        self.done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    def finish(self) -> None:
        if not self.done.done():
            self.done.set_result(self.found)

    def fail(self, why: RedisError) -> None:
        if not self.done.done():
            self.done.set_exception(why)


def _introduction(told: dict[str, Any]) -> list[tuple[str | bytes, ...]]:
    """What a new connection says first: who we are and which database we mean."""
    user, password, database = told.get("username"), told.get("password"), int(told.get("db") or 0)
    commands: list[tuple[str | bytes, ...]] = []
    if password:
        commands.append(("AUTH", *([user] if user else []), password))
    if database:
        commands.append(("SELECT", str(database)))
    return commands


def _packed(command: tuple[str | bytes, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub allows one word
    return packed


@lru_cache(maxsize=1_000)
def _hmget(fields: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """What precedes and what follows the key in a command that asks for `fields`, as Redis's protocol writes it."""
    packed = _packed(("HMGET", b"", *fields))
    head, _, tail = packed.partition(b"$0\r\n\r\n")
    return head, b"\r\n" + tail
