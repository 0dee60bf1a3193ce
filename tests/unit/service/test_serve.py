"""`cabinet serve` as a process: says when it serves, and ends when told."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import httpx
import pytest

from cabinet import config as configuration
from cabinet.system.run_folder import service_address
from cabinet.web import server

LONG_S = 120  # only keeps a broken build from hanging


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    paths = f'[paths]\nstate = "{tmp_path}/state"\nrun = "{tmp_path}/run"\n\n[service]\nport = 0\n'
    (tmp_path / "cabinet.toml").write_text(f"{text}\n{paths}", encoding="utf-8")
    return tmp_path


@pytest.fixture
def notices(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(LONG_S)
        yield listener


def serve(folder: Path, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "cabinet.main", "serve", "--config", str(folder / "cabinet.toml")],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_it_says_when_it_serves_feeds_the_watchdog_and_ends_with_a_live_page_open(
    folder: Path, notices: socket.socket
) -> None:
    process = serve(folder, NOTIFY_SOCKET=str(folder / "notify"), WATCHDOG_USEC="200000")
    try:
        seen = b""
        while b"READY=1" not in seen or b"WATCHDOG=1" not in seen:
            seen += notices.recv(4096) + b"\n"
        url = service_address(folder / "run").read_text().strip()
        assert f"STATUS=serving {url}".encode() in seen
        with httpx.Client(base_url=url, timeout=LONG_S) as client:
            answer = client.get("/s/A7K2")
            assert answer.status_code == 200
            assert "server" not in answer.headers
            with client.stream("GET", "/s/A7K2/live") as live:
                assert live.headers["content-type"].startswith("text/event-stream")
                process.send_signal(signal.SIGTERM)
                live.read()
        out, _ = process.communicate(timeout=LONG_S)
    finally:
        process.kill()
    assert process.returncode == 0
    assert out == f"serving {url}\n"
    assert not service_address(folder / "run").exists()


@pytest.mark.slow
def test_a_taken_port_is_one_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = folder / "cabinet.toml"
        config.write_text(config.read_text(encoding="utf-8").replace("port = 0", f"port = {port}"), encoding="utf-8")
        process = serve(folder)
        out, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 1
    assert out == ""
    assert err == (
        f"port {port} of 127.0.0.1 cannot be had (Address already in use): "
        "stop what uses it, or change service.host or service.port\n"
    )


def test_answers_are_not_held_back_for_the_askers_acknowledgement(folder: Path) -> None:
    """Nagle's algorithm costs 40 ms for every answer that is sent in two parts."""
    config = configuration.load(folder / "cabinet.toml")
    with (
        server.listen(config.service.host, config.service.port, "service") as listener,
        socket.create_connection(listener.getsockname()[:2]),
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
