"""The stream of a live page: what it sends, when it is silent, and that it leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from cabinet.errors import Refused
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


def test_there_is_a_limit_of_live_pages_and_a_closed_one_makes_room() -> None:
    async def scene() -> None:
        streams = Streams(most=1)
        changes = Changes()
        first = streams._counted(changes(), rendering({"a": "1"}), 5.0)
        await anext(first)
        with pytest.raises(Refused) as refused:
            streams.respond(Changes()(), rendering({"a": "1"}))
        assert refused.value.code == "too_many_requests"
        await first.aclose()
        streams.respond(Changes()(), rendering({"a": "1"}))

    asyncio.run(scene())
