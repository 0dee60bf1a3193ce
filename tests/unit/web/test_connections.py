"""Seats and deadlines of connections: who says nothing, or too slowly, goes; and who has the most gives way."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvicorn

from cabinet.config.keys import Config
from cabinet.web.address import Networks
from cabinet.web.connections import ConnectionLimits, Seat, Seats, Stage
from cabinet_testing.web_server import body_of, listening

LONG_S = 30  # only keeps a broken build from hanging
SHORT = 0.05
NEVER = 3600.0
PATIENT = ConnectionLimits(500, 100, NEVER, NEVER, NEVER, NEVER, NEVER)

Dropped = list[str]


def taken(seats: Seats, dropped: Dropped, host: str, stage: Stage = Stage.IDLE) -> Seat | None:
    seat = seats.take(host, lambda: dropped.append(host))
    if seat is not None:
        seat.enter(stage)
    return seat


def scene(story: Callable[[], Awaitable[None]]) -> None:
    async def within_time() -> None:
        async with asyncio.timeout(LONG_S):
            await story()

    asyncio.run(within_time())


# --- seats -----------------------------------------------------------------------------------------------------------


def test_when_every_seat_is_taken_the_address_with_the_most_loses_its_oldest_idle_one() -> None:
    async def story() -> None:
        seats, dropped = Seats(PATIENT._replace(max_connections=5), Networks(())), Dropped()
        for host in ("192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.2", "192.0.2.3"):
            taken(seats, dropped, host)
        assert taken(seats, dropped, "192.0.2.4") is not None
        assert dropped == ["192.0.2.2"]
        assert (len(seats), seats.of("192.0.2.2")) == (5, 2)

    scene(story)


def test_no_connection_with_a_request_under_way_gives_way() -> None:
    async def story() -> None:
        seats, dropped = Seats(PATIENT._replace(max_connections=3), Networks(())), Dropped()
        taken(seats, dropped, "192.0.2.1", Stage.ANSWER)
        taken(seats, dropped, "192.0.2.1", Stage.ANSWER)
        taken(seats, dropped, "192.0.2.2", Stage.BODY)
        assert taken(seats, dropped, "192.0.2.3", Stage.ANSWER) is not None
        assert dropped == ["192.0.2.2"]
        assert taken(seats, dropped, "192.0.2.4") is None
        assert seats.refused == 1

    scene(story)


def test_an_address_with_all_of_its_own_loses_an_idle_one_of_them_or_is_refused() -> None:
    async def story() -> None:
        seats, dropped = Seats(PATIENT._replace(max_of_source=2), Networks(())), Dropped()
        taken(seats, dropped, "192.0.2.9")
        taken(seats, dropped, "192.0.2.1", Stage.ANSWER)
        taken(seats, dropped, "192.0.2.1")
        assert taken(seats, dropped, "192.0.2.1", Stage.ANSWER) is not None
        assert dropped == ["192.0.2.1"]
        assert taken(seats, dropped, "192.0.2.1") is None
        assert taken(seats, dropped, "192.0.2.2") is not None

    scene(story)


def test_a_trusted_proxy_has_no_limit_of_its_own_and_is_the_last_to_give_way() -> None:
    async def story() -> None:
        limits = PATIENT._replace(max_connections=6, max_of_source=2)
        seats, dropped = Seats(limits, Networks(["192.0.2.128/25"])), Dropped()
        for _ in range(5):
            assert taken(seats, dropped, "192.0.2.200") is not None
        taken(seats, dropped, "192.0.2.1")
        assert taken(seats, dropped, "192.0.2.200") is not None
        assert dropped == ["192.0.2.1"]
        assert taken(seats, dropped, "192.0.2.1") is not None
        assert dropped == ["192.0.2.1", "192.0.2.200"]

    scene(story)


def test_one_line_of_ipv6_is_one_address_whatever_it_calls_itself() -> None:
    async def story() -> None:
        seats, dropped = Seats(PATIENT._replace(max_of_source=2), Networks(())), Dropped()
        taken(seats, dropped, "2001:db8:1:2::1", Stage.ANSWER)
        taken(seats, dropped, "2001:db8:1:2:ffff::7", Stage.ANSWER)
        assert taken(seats, dropped, "2001:db8:1:2:3::4") is None
        assert taken(seats, dropped, "2001:db8:1:3::1") is not None

    scene(story)


def test_a_seat_is_freed_once() -> None:
    async def story() -> None:
        seats = Seats(PATIENT, Networks(()))
        seat = seats.take("192.0.2.1", lambda: None)
        assert seat is not None
        seat.leave()
        seat.leave()
        assert (len(seats), seats.of("192.0.2.1")) == (0, 0)

    scene(story)


# --- deadlines, on a real socket -------------------------------------------------------------------------------------


async def connection(port: int, tls: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, ssl=tls)


async def closed(reader: asyncio.StreamReader) -> bytes:
    """Return the bytes received until the other side closes."""
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


def test_who_sends_nothing_is_dropped(config: Config) -> None:
    async def story() -> None:
        async with listening(config, PATIENT._replace(first_byte_s=SHORT)) as (port, _):
            reader, writer = await connection(port)
            assert await closed(reader) == b""
            writer.close()

    scene(story)


@pytest.mark.parametrize(
    ("name", "begun"),
    [
        ("header_s", b"GET / HTTP/1.1\r\nHost: cab"),
        ("body_s", b"POST /sign-in HTTP/1.1\r\nHost: cabinet\r\nContent-Length: 900\r\n"
         b"Content-Type: application/x-www-form-urlencoded\r\n\r\ncard=1"),
        # answered with a refusal long before its end
        ("body_s", b"POST /nowhere HTTP/1.1\r\nHost: cabinet\r\nContent-Length: 900\r\n\r\nx"),
    ],
    ids=["header", "body", "body of a request that is answered already"],
)  # fmt: skip
def test_a_byte_now_and_then_does_not_put_the_deadline_off(config: Config, name: str, begun: bytes) -> None:
    limits: dict[str, Any] = {name: 4 * SHORT}

    async def story() -> None:
        async with listening(config, PATIENT._replace(**limits)) as (port, _):
            reader, writer = await connection(port)
            writer.write(begun)
            gone = asyncio.ensure_future(closed(reader))
            while not (await asyncio.wait({gone}, timeout=SHORT / 2))[0]:
                with contextlib.suppress(ConnectionError):
                    writer.write(b"x")
            writer.close()

    scene(story)


def test_a_request_that_came_whole_has_no_deadline_and_the_next_one_has_its_own(config: Config) -> None:
    async def story() -> None:
        limits = PATIENT._replace(header_s=4 * SHORT)
        async with listening(config, limits) as (port, _):
            reader, writer = await connection(port)
            for _ in range(3):
                writer.write(b"GET /robots.txt HTTP/1.1\r\nHost: cabinet\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200")
                await reader.readexactly(body_of(head))
            writer.write(b"G")
            assert await closed(reader) == b""
            writer.close()

    scene(story)


def test_who_does_not_read_what_was_asked_for_is_dropped(config: Config) -> None:
    async def endless(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await receive()
        gone = asyncio.ensure_future(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
            await asyncio.sleep(0)

    async def story() -> None:
        async with listening(config, PATIENT._replace(stalled_s=SHORT), endless) as (port, server):
            _, writer = await connection(port)
            assert isinstance(writer.transport, asyncio.Transport)
            writer.transport.pause_reading()
            writer.write(b"GET / HTTP/1.1\r\nHost: cabinet\r\n\r\n")
            await empty(server)
            writer.close()

    scene(story)


async def empty(server: uvicorn.Server) -> None:
    """Wait until the server has had a connection and has none left."""
    seats = server._seats  # type: ignore[attr-defined]
    while not len(seats):
        await asyncio.sleep(0)
    while len(seats):
        await asyncio.sleep(0.001)


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Path, Path, ssl.SSLContext]:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return tmp_path / "cert.pem", tmp_path / "key.pem", trusting


def test_with_a_certificate_a_handshake_has_a_deadline_and_counts_from_the_first_moment(
    config: Config, tls: tuple[Path, Path, ssl.SSLContext]
) -> None:
    async def story() -> None:
        certificate, key, trusting = tls
        limits = PATIENT._replace(handshake_s=4 * SHORT, max_of_source=2)
        async with listening(config, limits, certificate=certificate, key=key) as (port, server):
            silent = [await connection(port) for _ in range(2)]
            reader, writer = await connection(port, trusting)  # makes the first silent one give way
            writer.write(b"GET /robots.txt HTTP/1.1\r\nHost: cabinet\r\nConnection: close\r\n\r\n")
            assert b"200 OK" in await closed(reader)
            for each, _ in silent:
                assert await closed(each) == b""
            assert server._seats.dropped == 1  # type: ignore[attr-defined]
            for _, each_writer in (*silent, (reader, writer)):
                each_writer.close()

    scene(story)


def test_connections_of_a_proxy_are_not_counted_as_one_address(config: Config) -> None:
    async def story() -> None:
        async with listening(config, PATIENT._replace(max_of_source=2), proxies=("127.0.0.0/8",)) as (port, server):
            opened = [await connection(port) for _ in range(10)]
            while len(server._seats) < 10:  # type: ignore[attr-defined]
                await asyncio.sleep(0.001)
            for _, writer in opened:
                writer.close()

    scene(story)


async def live_page(port: int, host: str) -> tuple[bytes, asyncio.StreamWriter]:
    """The first line of the answer; the connection stays open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))
    writer.write(b"GET /charge/s1/live HTTP/1.1\r\nHost: cabinet\r\nCookie: resident=resident-1\r\n\r\n")
    return await reader.readline(), writer


def test_live_pages_of_one_address_leave_room_for_those_of_others_and_for_a_stop(config: Config) -> None:
    share = config.service.connections_per_address // 2

    async def story() -> None:
        async with listening(config, PATIENT) as (port, _):
            asked = await asyncio.gather(*(live_page(port, "127.0.0.66") for _ in range(share + 20)))
            granted = [line for line, _ in asked if b" 200 " in line]
            assert len(granted) == share
            assert {line for line, _ in asked} == {granted[0], b"HTTP/1.1 429 Too Many Requests\r\n"}
            line, writer = await live_page(port, "127.0.0.7")
            assert b" 200 " in line
            for each in (writer, *(each for _, each in asked)):
                each.transport.abort()

    scene(story)
