"""The stream of a live page: what it sends, when it is silent, and that it leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import pytest
from litestar.connection import ASGIConnection

from cabinet.errors import Refused
from cabinet.web.context import AT_END
from cabinet.web.live import Parts, Streams, events


class Changes:
    """Changes that the test makes; knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False
        self._queue: asyncio.Queue[bool] = asyncio.Queue()
        self._queue.put_nowait(True)

    def change(self) -> None:
        self._queue.put_nowait(True)

    def end(self) -> None:
        self._queue.put_nowait(False)

    async def __call__(self) -> AsyncIterator[None]:
        try:
            while await self._queue.get():
                yield None
        finally:
            self.closed = True


def rendering(*states: Parts, last: int | None = None) -> Callable[[], Awaitable[tuple[Parts, bool]]]:
    """A `render` that gives one state after the other and stays at the last."""
    calls = iter(range(1_000_000))

    async def render() -> tuple[Parts, bool]:
        call = next(calls)
        return states[min(call, len(states) - 1)], call == last

    return render


def test_only_parts_that_changed_are_sent_and_close_follows_the_last() -> None:
    async def scene() -> list[bytes]:
        changes = Changes()
        for _ in range(3):
            changes.change()
        render = rendering(
            {"a": "1", "b": "1"}, {"a": "1", "b": "2"}, {"a": "1", "b": "2"}, {"a": "2", "b": "2"}, last=3
        )
        return [event async for event in events(changes(), render, refresh_s=60)]

    assert asyncio.run(scene()) == [
        b"retry: 3000\r\n\r\n",
        b"event: a\r\ndata: 1\r\n\r\n",
        b"event: b\r\ndata: 1\r\n\r\n",
        b"event: b\r\ndata: 2\r\n\r\n",
        b"event: a\r\ndata: 2\r\n\r\n",
        b"event: close\r\ndata: \r\n\r\n",
    ]


def test_html_of_several_lines_stays_one_event() -> None:
    async def scene() -> list[bytes]:
        render = rendering({"a": "<p>\nx\r\n</p>"}, last=0)
        return [event async for event in events(Changes()(), render, refresh_s=60)]

    assert asyncio.run(scene())[1] == b"event: a\r\ndata: <p>\r\ndata: x\r\ndata: </p>\r\n\r\n"


def test_without_changes_it_looks_again_and_shows_that_it_lives() -> None:
    async def scene() -> list[bytes]:
        changes = Changes()
        got: list[bytes] = []
        stream = events(changes(), rendering({"a": "1"}, {"a": "1"}, {"a": "2"}), refresh_s=0.01)
        async for event in stream:
            got.append(event)
            if event.startswith(b"event: a\r\ndata: 2"):
                break
        await stream.aclose()
        assert changes.closed
        return got

    assert asyncio.run(scene())[1:] == [b"event: a\r\ndata: 1\r\n\r\n", b": \r\n\r\n", b"event: a\r\ndata: 2\r\n\r\n"]


def test_it_ends_when_there_will_be_no_more_changes() -> None:
    async def scene() -> int:
        changes = Changes()
        changes.end()
        return len([event async for event in events(changes(), rendering({"a": "1"}), refresh_s=60)])

    assert asyncio.run(scene()) == 2


def test_it_ends_after_its_life_so_that_the_browser_signs_in_anew() -> None:
    async def scene() -> int:
        return len([event async for event in events(Changes()(), rendering({"a": "1"}), refresh_s=60, life_s=0)])

    assert asyncio.run(scene()) == 2


def test_a_refusal_ends_it_and_closes_what_it_watched() -> None:
    async def scene() -> tuple[int, bool]:
        changes = Changes()

        async def render() -> tuple[Parts, bool]:
            raise Refused("signed_out")

        got = [event async for event in events(changes(), render, refresh_s=60)]
        return len(got), changes.closed

    assert asyncio.run(scene()) == (1, True)


def asked_by(host: str) -> tuple[ASGIConnection[Any, Any, Any, Any], ExitStack]:
    """A request from `host`, and what ends it."""
    end = ExitStack()
    scope: Any = {"type": "http", "headers": [], "client": (host, 50_000), AT_END: end}
    return ASGIConnection(scope), end


def test_a_live_page_counts_from_when_it_is_granted_until_its_request_is_over_answered_or_not() -> None:
    async def scene() -> None:
        streams = Streams(most=2)
        ends = []
        for host in ("192.0.2.1", "192.0.2.2"):
            request, end = asked_by(host)
            streams.respond(request, Changes()(), rendering({"a": "1"}))
            ends.append(end)
        request, _ = asked_by("192.0.2.3")
        with pytest.raises(Refused) as refused:
            streams.respond(request, Changes()(), rendering({"a": "1"}))
        assert refused.value.code == "too_many_requests"
        ends[0].close()
        streams.respond(request, Changes()(), rendering({"a": "1"}))

    asyncio.run(scene())


def test_one_address_takes_no_more_than_its_share_of_the_live_pages() -> None:
    async def scene() -> None:
        streams = Streams(most=200, most_of_address=3)
        for _ in range(3):
            streams.respond(asked_by("192.0.2.1")[0], Changes()(), rendering({"a": "1"}))
        with pytest.raises(Refused):
            streams.respond(asked_by("192.0.2.1")[0], Changes()(), rendering({"a": "1"}))
        streams.respond(asked_by("192.0.2.2")[0], Changes()(), rendering({"a": "1"}))

    asyncio.run(scene())
