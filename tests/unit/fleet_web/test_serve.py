"""`fleet serve` as a process: it serves, gives its figures on loopback only, and stops when it is told to."""

import asyncio
import signal
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from cabinet_testing.fleet_web import fleet_web
from cabinet_testing.service_harness import FULL
from fleet import orders
from fleet.commands.serve import metrics_server


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_the_process_serves_and_stops(url: str, tmp_path: Path) -> None:
    config = tmp_path / "fleet.toml"
    config.write_text(f'[database]\nurl = "{url}"\n[web]\npublic_url = "http://127.0.0.1:1"\nport = 0\n')
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fleet.main", "serve", "--config", str(config), stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode()
            assert line.startswith("serving http://127.0.0.1:"), line
            address = line.split()[1]
            assert '"database":true' in await asyncio.to_thread(fetch, f"{address}/healthz")
            assert "插座编号" in await asyncio.to_thread(fetch, f"{address}/")
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()


async def test_metrics_are_in_the_text_format(url: str) -> None:
    async with fleet_web(url) as at:
        at.reply = "silent"
        resident_id = await at.resident()
        async with at.pool.connection() as connection:
            await orders.place(connection, at.config.orders, at.scene.company_id, resident_id, "C-ONE-1", FULL, "a-tap")
        await at.show("c-two", online=False)
        async with at.pool.connection() as connection:
            await connection.execute("UPDATE cabinet SET heard = now(), facts_waiting = 7 WHERE id = 'c-two'")
        async with metrics_server(at.pool, unused_port()) as port:
            text = await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}/metrics")
            with pytest.raises(urllib.error.HTTPError, match="404"):
                await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}/")
    lines = text.splitlines()
    assert 'fleet_cabinets{state="online"} 2' in lines
    assert 'fleet_cabinets{state="offline"} 1' in lines
    assert "fleet_orders_set_aside 0" in lines
    assert 'fleet_uplink_facts_waiting{cabinet="c-two"} 7' in lines
    assert any(line.startswith('fleet_uplink_heard_seconds{cabinet="c-two"} ') for line in lines)
    assert any(line.startswith("fleet_orders{state=") and line.endswith(" 1") for line in lines)
    for line in lines:
        assert line.startswith(("# HELP fleet_", "# TYPE fleet_", "fleet_")), line
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
