"""One address that holds six hundred connections: others wait no longer for a page, and a stop stops."""

import asyncio
import contextlib
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cabinet_testing.door_server import ATTACKER

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
FORM_KEY = "k" * 32
PAGES, STOPS, AT_ONCE = 100, 10, 5
LONG_S = 60  # only keeps a broken build from hanging
WORST_P99_S = 1.0  # on a machine that runs other tests beside; without limits it is never


@contextlib.contextmanager
def process(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Ready when it has said so; its first line is read by the caller."""
    started = subprocess.Popen(
        [sys.executable, "-m", "cabinet_testing.door_server", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
        # of an attacker nobody reads it, and a full pipe would stop the attack
        stderr=subprocess.PIPE if arguments == ("serve",) else subprocess.DEVNULL,
    )  # fmt: skip
    too_long = threading.Timer(2 * LONG_S, started.kill)
    too_long.start()
    try:
        yield started
    finally:
        too_long.cancel()
        started.kill()
        started.communicate()


def line_of(started: "subprocess.Popen[str]") -> str:
    assert started.stdout is not None
    return started.stdout.readline().strip()


async def ask(port: int, host: str, request: str) -> tuple[int, float]:
    """Status and seconds of one request over a connection of its own, from the address `host`."""
    began = time.monotonic()
    async with asyncio.timeout(LONG_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))
        try:
            writer.write(request.encode())
            answer = await reader.read()
        finally:
            writer.close()
    return int(answer.split(b" ", 2)[1]), time.monotonic() - began


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: cabinet\r\nCookie: resident=resident-1\r\nConnection: close\r\n\r\n"


def stop() -> str:
    body = f"form_key={FORM_KEY}"
    return (
        f"POST /charge/s1/stop HTTP/1.1\r\nHost: cabinet\r\nCookie: resident=resident-1; form={FORM_KEY}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n\r\n{body}"
    )


async def others(port: int) -> tuple[list[int], list[int], float]:
    """Statuses of pages and of stops that five other addresses ask for, and the p99 of all of them in seconds."""
    requests = [(get("/s/A7K2"), 0)] * PAGES + [(stop(), 1)] * STOPS
    answers: tuple[list[int], list[int]] = ([], [])
    times = []

    async def one(number: int) -> None:
        for request, kind in requests[number::AT_ONCE]:
            status, seconds = await ask(port, f"127.0.0.{10 + number}", request)
            answers[kind].append(status)
            times.append(seconds)

    await asyncio.gather(*(one(number) for number in range(AT_ONCE)))
    times.sort()
    return *answers, times[math.ceil(0.99 * len(times)) - 1]


@pytest.mark.parametrize("kind", ["idle", "trickle", "flood"])
def test_six_hundred_connections_of_one_address_cost_nobody_else_a_page_or_a_stop(kind: str) -> None:
    began = time.monotonic()
    with process("serve") as server:
        port = int(line_of(server))
        quiet = asyncio.run(others(port))
        with process(kind, str(port)) as attacker:
            assert line_of(attacker) == "every place tried"
            attacked = asyncio.run(others(port))
        server.terminate()
        _, log = server.communicate(timeout=LONG_S)
    seconds = time.monotonic() - began
    print(f"p99 of others: {1000 * quiet[2]:.0f} ms quiet, {1000 * attacked[2]:.0f} ms while {ATTACKER} attacks")
    for pages, stops, _ in (quiet, attacked):
        assert pages == [200] * PAGES
        assert stops == [303] * STOPS
    assert attacked[2] < max(WORST_P99_S, 10 * quiet[2])
    assert len(log.splitlines()) <= seconds + 1, log[:2000]
