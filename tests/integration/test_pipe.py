"""One connection answers all who ask, each with their own answers, and comes back after whatever breaks it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from redis import Redis

from feature_repo.online.pipe import Pipe
from runtime.errors import AccessRefused, Unavailable
from tests.faults.proxy import Proxy
from tests.redis_servers import port_of, redis_server

T = TypeVar("T")
FIELDS = (b"a", b"b", b"absent")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis_server(tmp_path_factory.mktemp("redis")) as client:
        for number in range(200):
            client.hset(f"h{number}", mapping={"a": f"a{number}", "b": "b" * number})
        yield client


@pytest.fixture
def proxy(server: Redis) -> Iterator[Proxy]:
    proxy = Proxy(port_of(server))
    yield proxy
    proxy.close()


def asked(port: int, ask: Callable[[Pipe], Awaitable[T]], **options: float) -> T:
    async def run() -> T:
        pipe = Pipe(f"redis://127.0.0.1:{port}/0", **options)
        try:
            return await ask(pipe)
        finally:
            await pipe.close()

    return asyncio.run(run())


def expected(number: int) -> list[bytes | None]:
    return [f"a{number}".encode(), b"b" * number, None]


async def read(pipe: Pipe, *numbers: int) -> list[list[bytes | None]]:
    return await pipe.hmget([f"h{number}".encode() for number in numbers], FIELDS)


def test_each_of_many_who_ask_at_once_gets_their_own_answers(server: Redis) -> None:
    async def ask(pipe: Pipe) -> list[list[list[bytes | None]]]:
        return await asyncio.gather(*(read(pipe, number, 199 - number) for number in range(200)))

    found = asked(port_of(server), ask)
    assert found == [[expected(number), expected(199 - number)] for number in range(200)]
    assert server.info("clients")["connected_clients"] <= 2


def test_an_unknown_key_has_no_fields(server: Redis) -> None:
    assert asked(port_of(server), lambda pipe: pipe.hmget([b"nobody"], FIELDS)) == [[None, None, None]]


def test_who_no_longer_waits_leaves_the_answers_of_others_in_order(proxy: Proxy) -> None:
    held, is_held = threading.Event(), threading.Event()

    def hold(_: bytes) -> None:
        if is_held.is_set():
            held.wait(20)

    proxy.before = hold

    async def ask(pipe: Pipe) -> list[list[list[bytes | None]]]:
        await read(pipe, 0)
        is_held.set()
        tasks = [asyncio.create_task(read(pipe, number)) for number in range(60)]
        await asyncio.sleep(0.1)  # all have asked, and nobody is answered
        for task in tasks[::2]:
            task.cancel()
        await asyncio.sleep(0)
        held.set()
        return list(await asyncio.gather(*tasks[1::2]))

    assert asked(proxy.port, ask) == [[expected(number)] for number in range(1, 60, 2)]


def test_a_connection_that_was_cut_is_made_anew_without_an_error(proxy: Proxy) -> None:
    async def ask(pipe: Pipe) -> list[list[list[bytes | None]]]:
        first = await read(pipe, 1)
        await asyncio.to_thread(proxy.cut)
        return [first, await read(pipe, 2)]

    assert asked(proxy.port, ask) == [[expected(1)], [expected(2)]]


def test_a_server_that_does_not_answer_fails_all_who_wait_in_bounded_time_and_is_found_again(proxy: Proxy) -> None:
    held, is_held = threading.Event(), threading.Event()

    def hold(_: bytes) -> None:
        if is_held.is_set():
            held.wait(20)

    proxy.before = hold

    async def ask(pipe: Pipe) -> tuple[list[BaseException | list[list[bytes | None]]], list[list[bytes | None]]]:
        await read(pipe, 1)
        is_held.set()
        failed = await asyncio.gather(read(pipe, 2), read(pipe, 3), return_exceptions=True)
        is_held.clear()
        held.set()
        return failed, await read(pipe, 4)

    failed, recovered = asked(proxy.port, ask, answer_timeout_s=0.5)
    assert [type(each) for each in failed] == [Unavailable, Unavailable]
    assert recovered == [expected(4)]


def test_no_server_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        asked(1, lambda pipe: pipe.ping())


def test_a_wrong_password_is_refused_by_the_variable_that_holds_it(tmp_path: Path) -> None:
    async def run(url: str) -> None:
        pipe = Pipe(url)
        try:
            await pipe.ping()
        finally:
            await pipe.close()

    with redis_server(tmp_path, "--requirepass", "right", password="right") as client:
        asyncio.run(run(f"redis://:right@127.0.0.1:{port_of(client)}/3"))
        with pytest.raises(AccessRefused, match="password"):
            asyncio.run(run(f"redis://:wrong@127.0.0.1:{port_of(client)}/0"))


def test_an_error_of_one_command_is_that_calls_alone(server: Redis) -> None:
    server.set("text", "no hash")

    async def ask(pipe: Pipe) -> list[BaseException | list[list[bytes | None]]]:
        return await asyncio.gather(pipe.hmget([b"text"], FIELDS), read(pipe, 5), return_exceptions=True)

    failed, answered = asked(port_of(server), ask)
    assert isinstance(failed, Unavailable)
    assert answered == [expected(5)]
