"""Notices of a process to its service manager."""

import select
import socket
from collections.abc import Iterator

import pytest

from cabinet.system.sd_notify import Notifier, watchdog_interval_s


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A listening manager and its address as in $NOTIFY_SOCKET."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@cabinet-test-{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if address.startswith("@") else address)
        listener.settimeout(20)
        yield listener, address


def test_ready_and_alive_arrive_as_systemd_reads_them(manager, monkeypatch):
    listener, address = manager
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notifier = Notifier()
    notifier.ready("protecting 10 outlets")
    notifier.alive()
    assert [listener.recv(100), listener.recv(100)] == [b"READY=1\nSTATUS=protecting 10 outlets", b"WATCHDOG=1"]


def test_nobody_listens(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready("to nobody")


def waiting(listener: socket.socket) -> Iterator[bytes]:
    """Everything that lies in the queue."""
    while select.select([listener], [], [], 0)[0]:
        yield listener.recv(100)


def test_manager_that_was_busy_is_told_again(manager):
    """A message lost to a full queue must not be the last one: the watchdog would bite."""
    listener, address = manager
    notifier = Notifier(address)
    for _ in range(10_000):  # far more than a queue of datagrams holds, and nobody reads
        notifier.alive()
    assert set(waiting(listener)) == {b"WATCHDOG=1"}
    notifier.send("STATUS=back")
    assert listener.recv(100) == b"STATUS=back"


def test_manager_that_is_gone_is_no_error(manager):
    listener, address = manager
    notifier = Notifier(address)
    notifier.alive()
    listener.close()
    notifier.alive()
    Notifier("/nowhere/notify").alive()


def test_watchdog_is_fed_twice_as_often_as_it_bites(monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    assert watchdog_interval_s() == 1.0
    monkeypatch.delenv("WATCHDOG_USEC")
    assert watchdog_interval_s() is None
