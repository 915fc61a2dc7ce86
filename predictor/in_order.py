"""Work on the items of a stream, several at a time, results in the items' order.

Place in the flow: the edge answers a stream of requests with it; each item goes to the core by itself.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def in_order(items: AsyncIterable[T], work: Callable[[T], Awaitable[R]], in_flight: int) -> AsyncGenerator[R, None]:
    """`work` of each item, in the order of the items; at most `in_flight` are begun and not yet taken, and no more are read.

    An error of `items` or of `work` ends it. However it ends, what was begun is cancelled and has ended before, and a
    generator of items is closed; so close it.
    """
    begun: asyncio.Queue[asyncio.Future[R] | None] = asyncio.Queue()
    room = asyncio.Semaphore(in_flight)
    reading = asyncio.create_task(_begin_all(items, work, begun, room), name="stream-reading")
    unfinished: set[asyncio.Future[R]] = set()
    try:
        while (task := await begun.get()) is not None:
            unfinished.add(task)
            result = await task
            unfinished.discard(task)
            yield result
            room.release()
        await reading
    finally:
        await _end([reading, *unfinished, *_left(begun)])


async def _begin_all(
    items: AsyncIterable[T],
    work: Callable[[T], Awaitable[R]],
    begun: asyncio.Queue[asyncio.Future[R] | None],
    room: asyncio.Semaphore,
) -> None:
    source = aiter(items)
    try:
        await room.acquire()
        async for item in source:
            begun.put_nowait(asyncio.ensure_future(work(item)))
            await room.acquire()
    finally:
        begun.put_nowait(None)
        if isinstance(source, AsyncGenerator):
            await source.aclose()


def _left(begun: asyncio.Queue[asyncio.Future[R] | None]) -> list[asyncio.Future[R]]:
    found = [begun.get_nowait() for _ in range(begun.qsize())]
    return [each for each in found if each is not None]


async def _end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
