"""Requests take turns by address, and a stop always gets in."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cabinet.web import turns as turns_module
from cabinet.web.gate import Gate, GateLimits

LONG_S = 30  # only keeps a broken build from hanging


class App:
    """Answers when it is let; `begun` is what it has been asked for so far."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go_on = asyncio.Event()
        self.at_once = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            await receive()
        self.begun.append(f"{scope['client'][0]} {scope['path']}")
        if not self.at_once:
            await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def ask(gate: Gate, host: str, path: str = "/", method: str = "GET", body: "asyncio.Event | None" = None) -> int:
    """The status of the answer; a request with a `body` is whole once that is set."""
    status = 0

    async def receive() -> Any:
        if body is not None:
            await body.wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    scope: Any = {"type": "http", "method": method, "path": path, "client": (host, 50_000), "headers": []}
    await gate(scope, receive, send)
    return status


async def turns(times: int = 20) -> None:
    """Let the event loop do what it can."""
    for _ in range(times):
        await asyncio.sleep(0)


def scene(story: Callable[[App], Awaitable[None]]) -> None:
    async def within_time() -> None:
        async with asyncio.timeout(LONG_S):
            await story(App())

    asyncio.run(within_time())


def test_of_one_address_two_requests_are_worked_on_at_once_and_others_do_not_wait_for_it() -> None:
    async def story(app: App) -> None:
        gate = Gate(app, GateLimits(turns_of_source=2))
        many = [asyncio.create_task(ask(gate, "192.0.2.1")) for _ in range(10)]
        await turns()
        other = asyncio.create_task(ask(gate, "192.0.2.2"))
        await turns()
        assert app.begun == ["192.0.2.1 /", "192.0.2.1 /", "192.0.2.2 /"]
        app.go_on.set()
        assert list(await asyncio.gather(*many, other)) == [200] * 11

    scene(story)


def test_pages_that_are_made_in_one_step_do_not_follow_one_another_without_a_look_at_the_others() -> None:
    async def story(app: App) -> None:
        app.at_once = True
        gate = Gate(app, GateLimits(turns_of_source=1))
        many = [asyncio.create_task(ask(gate, "192.0.2.1")) for _ in range(50)]
        other = asyncio.create_task(ask(gate, "192.0.2.2"))
        await other
        assert len(app.begun) < 5
        assert list(await asyncio.gather(*many)) == [200] * 50
        await turns()
        assert gate._turns == {}, "nothing is remembered of an address that has gone"

    scene(story)


def test_a_body_that_trickles_in_takes_no_turn() -> None:
    async def story(app: App) -> None:
        gate = Gate(app, GateLimits(turns_of_source=1))
        whole = asyncio.Event()
        slow = [asyncio.create_task(ask(gate, "192.0.2.1", "/slow", "POST", whole)) for _ in range(3)]
        await turns()
        app.go_on.set()
        assert await ask(gate, "192.0.2.1", "/quick", "POST") == 200
        whole.set()
        assert list(await asyncio.gather(*slow)) == [200] * 3

    scene(story)


def test_an_address_with_too_many_requests_is_told_so_and_nobody_else() -> None:
    async def story(app: App) -> None:
        gate = Gate(app, GateLimits(max_of_source=3))
        many = [asyncio.create_task(ask(gate, "192.0.2.1")) for _ in range(3)]
        await turns()
        assert await ask(gate, "192.0.2.1") == 429
        other = asyncio.create_task(ask(gate, "192.0.2.2"))
        app.go_on.set()
        assert list(await asyncio.gather(*many, other)) == [200] * 4

    scene(story)


def test_what_works_for_long_keeps_nobody_of_its_address_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "MAX_TURN_S", 0.01)

    async def story(app: App) -> None:
        gate = Gate(app, GateLimits(turns_of_source=1))
        sheet = asyncio.create_task(ask(gate, "192.0.2.1", "/sheet"))
        page = asyncio.create_task(ask(gate, "192.0.2.1", "/page"))
        while len(app.begun) < 2:
            await asyncio.sleep(0.001)
        app.go_on.set()
        assert list(await asyncio.gather(sheet, page)) == [200, 200]
        await turns()
        assert gate._turns == {}

    scene(story)


def test_a_stop_gets_in_when_nothing_else_does() -> None:
    async def story(app: App) -> None:
        gate = Gate(app, GateLimits(max_requests=4))
        many = [asyncio.create_task(ask(gate, f"192.0.2.{number}")) for number in range(4)]
        await turns()
        assert await ask(gate, "192.0.2.9", "/charge/s1") == 503
        assert await ask(gate, "192.0.2.9", "/charge/s1/stop", "GET") == 503
        stop = asyncio.create_task(ask(gate, "192.0.2.1", "/charge/s1/stop", "POST"))
        await turns()
        assert app.begun[-1] == "192.0.2.1 /charge/s1/stop"
        app.go_on.set()
        assert list(await asyncio.gather(*many, stop)) == [200] * 5

    scene(story)


def test_even_stops_of_one_address_leave_room_for_anothers() -> None:
    async def story(app: App) -> None:
        gate = Gate(app, GateLimits(stops_of_source=2))
        path = "/charge/made-up/stop"
        many = [asyncio.create_task(ask(gate, "192.0.2.1", path, "POST")) for _ in range(2)]
        await turns()
        assert await ask(gate, "192.0.2.1", path, "POST") == 429
        other = asyncio.create_task(ask(gate, "192.0.2.2", path, "POST"))
        app.go_on.set()
        assert list(await asyncio.gather(*many, other)) == [200] * 3

    scene(story)


def test_an_asker_who_goes_while_waiting_gives_up_the_turn() -> None:
    async def story(app: App) -> None:
        gate = Gate(app, GateLimits(turns_of_source=1))
        first = asyncio.create_task(ask(gate, "192.0.2.1", "/first"))
        await turns()
        gone = asyncio.create_task(ask(gate, "192.0.2.1", "/gone"))
        last = asyncio.create_task(ask(gate, "192.0.2.1", "/last"))
        await turns()
        gone.cancel()
        app.go_on.set()
        assert list(await asyncio.gather(first, last)) == [200, 200]
        await turns()
        assert app.begun == ["192.0.2.1 /first", "192.0.2.1 /last"]
        assert gate._turns == {}

    scene(story)
