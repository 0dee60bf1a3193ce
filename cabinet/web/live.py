"""Live pages: server-sent events with newly rendered parts of a page; a part is sent only if it has changed."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import cast

from litestar.response import Stream
from litestar.response.sse import ServerSentEventMessage

from cabinet.errors import Refused
from cabinet.web.context import Connection, address_of, at_end

Parts = dict[str, str]
"""Name of an event → the HTML it swaps in."""

REFRESH_S = 5.0  # a countdown runs on without a change of state, and writing detects a dead connection
LIFE_S = 600.0  # the browser then reconnects, and the sign-in is checked again
RETRY_MS = 3000


class Streams:
    """Open live pages by address. Each holds a connection, so the total and the number per address are limited.

    A live page counts from its grant to the end of its request: if a hundred are requested at once, a hundred count.
    """

    def __init__(self, most: int = 200, most_of_address: int = 50) -> None:
        self._most = most
        self._most_of_address = most_of_address
        self._open: Counter[str] = Counter()

    @classmethod
    def of(cls, connection: Connection) -> "Streams":
        return cast(Streams, connection.app.state.streams)

    def respond(
        self,
        connection: Connection,
        changes: AsyncIterator[None],
        render: Callable[[], Awaitable[tuple[Parts, bool]]],
        refresh_s: float = REFRESH_S,
    ) -> Stream:
        """Return a stream of the parts that `render` makes at every change; it also returns whether they are the last.

        Raises Refused `too_many_requests` if a limit is reached: the page then works as without a script.
        """
        address = address_of(connection)
        if self._open.total() >= self._most or self._open[address] >= self._most_of_address:
            raise Refused("too_many_requests")
        self._open[address] += 1
        at_end(connection, lambda: self._close(address))
        return Stream(
            events(changes, render, refresh_s),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    def _close(self, address: str) -> None:
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


async def events(
    changes: AsyncIterator[None],
    render: Callable[[], Awaitable[tuple[Parts, bool]]],
    refresh_s: float = REFRESH_S,
    life_s: float = LIFE_S,
) -> AsyncGenerator[bytes, None]:
    """Yield changed parts as events, a comment if nothing has changed for `refresh_s`, and `close` after the last.

    A `Refused` from `render` (for example: signed out meanwhile) ends the stream.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + life_s
    sent: Parts = {}
    sent_at = loop.time()
    yield ServerSentEventMessage(data=None, retry=RETRY_MS).encode()
    async with aclosing(_ticks(changes, refresh_s)) as ticks:
        async for _ in ticks:
            try:
                parts, last = await render()
            except Refused:
                return
            changed = [(name, html) for name, html in parts.items() if sent.get(name) != html]
            sent = parts
            for name, html in changed:
                yield ServerSentEventMessage(data=html, event=name).encode()
            if last:
                yield ServerSentEventMessage(data="", event="close").encode()
                return
            if loop.time() >= end:
                return
            if changed:
                sent_at = loop.time()
            elif loop.time() - sent_at >= refresh_s:
                sent_at = loop.time()
                yield ServerSentEventMessage(data=None, comment="").encode()


async def _ticks(changes: AsyncIterator[None], refresh_s: float) -> AsyncGenerator[None, None]:
    """Yield at every change, at the latest every `refresh_s`. Ends with `changes`, and closes it."""
    coming = asyncio.ensure_future(_next(changes))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=refresh_s)
            if done:
                if not coming.result():
                    return
                coming = asyncio.ensure_future(_next(changes))
            yield None
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        close = getattr(changes, "aclose", None)
        if close is not None:
            await close()


async def _next(changes: AsyncIterator[None]) -> bool:
    try:
        await anext(changes)
    except StopAsyncIteration:
        return False
    return True
