"""Requests and inspections over the steward's socket, by accounts that may and by others."""

import os
import socket
import threading

import pytest

from cabinet.clock import ManualClock
from cabinet.errors import CabinetError, Refused
from cabinet.system.steward import protocol
from cabinet.system.steward.client import SILENCE_NS, StewardSocketClient
from cabinet.system.steward.protocol import (
    BackUp,
    BundleFound,
    CancelReboot,
    CheckUpdates,
    DriveFound,
    Failed,
    InstalledVersion,
    Reboot,
    RequestDone,
)
from cabinet.system.steward.server import MAX_WAITING, Server
from cabinet_testing.fake_computer import FakeComputer


@pytest.fixture
def computer(tmp_path):
    return FakeComputer(tmp_path)


def served(tmp_path, computer, uids, ask):
    """Return the result of `ask` while one client is served."""
    path = tmp_path / "steward.sock"
    server = Server(path, frozenset(uids), computer.steward)
    thread = threading.Thread(target=server.serve_one, args=(10.0,))
    thread.start()
    try:
        return ask(path)
    finally:
        thread.join()
        server.close()


def test_console_asks_over_the_socket(tmp_path, computer):
    answer = served(tmp_path, computer, {os.geteuid()}, lambda path: StewardSocketClient(path, 10).ask(CancelReboot()))
    assert answer == RequestDone()


def test_console_is_told_by_code_what_it_has_words_for(tmp_path, computer):
    def ask(path):
        with pytest.raises(Refused, match="no_backup_yet"):
            StewardSocketClient(path, 10).ask(BackUp())

    served(tmp_path, computer, {os.geteuid()}, ask)


def test_other_accounts_are_refused_and_nothing_is_done(tmp_path, computer):
    def ask(path):
        with pytest.raises(CabinetError, match="serves the console only"):
            StewardSocketClient(path, 10).ask(Reboot())

    served(tmp_path, computer, {os.geteuid() + 1}, ask)
    assert computer.ran == []


def test_other_accounts_keep_the_console_waiting_for_no_moment(tmp_path, computer):
    """Each silent connection of another account would cost the console two seconds, and there may be dozens."""
    path = tmp_path / "steward.sock"
    server = Server(path, frozenset(), computer.steward)
    silent = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(MAX_WAITING)]
    for line in silent:
        line.connect(str(path))
        assert server.serve_one(0)  # in this thread: it would wait for what never comes
        assert isinstance(protocol.decode_answer(line.recv(protocol.MAX_FRAME)), Failed)
        line.close()
    server.close()


@pytest.mark.parametrize("frame", [b"{}", b"\xff\xfe", b'{"type":"run","words":["sh"]}', b"[" * 5000])
def test_frame_that_is_no_request_does_nothing(tmp_path, computer, frame):
    def ask(path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            line.connect(str(path))
            line.send(frame)
            return protocol.decode_answer(line.recv(protocol.MAX_FRAME))

    assert isinstance(served(tmp_path, computer, {os.geteuid()}, ask), Failed)
    assert computer.ran == []


class Served:
    """A steward on its socket, served by the test itself, one step at a time."""

    def __init__(self, tmp_path, computer):
        self.path = tmp_path / "steward.sock"
        self.server = Server(self.path, frozenset({os.geteuid()}), computer.steward)
        computer.nobody_has_mounted_it()
        (computer.stick / "a.bundle").write_bytes(b"junk")

    def begin(self):
        """A client whose inspection has reached the stick, which is mounted meanwhile."""
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line.connect(str(self.path))
        line.send(protocol.encode(CheckUpdates()))
        assert self.server.serve_one(10)
        assert not self.server.serve_one(10), "it does not wait while an inspection is under way"
        return line


@pytest.fixture
def line_of(tmp_path, computer):
    served = Served(tmp_path, computer)
    yield served
    served.server.close()


def read(line):
    return protocol.decode_answer(line.recv(protocol.MAX_FRAME))


def test_findings_come_one_after_the_other_over_one_connection(line_of, computer):
    with line_of.begin() as line:
        while line_of.server._inspection is not None:
            line_of.server.serve_one(0)
        kinds = [type(read(line)) for _ in range(4)]
        assert kinds == [InstalledVersion, DriveFound, BundleFound, RequestDone]
        assert line.recv(1) == b""
    assert not computer.reading.is_symlink()


def test_other_request_is_answered_in_the_middle_of_an_inspection(line_of, computer):
    with line_of.begin() as line, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.connect(str(line_of.path))
        other.send(protocol.encode(CancelReboot()))
        assert line_of.server.serve_one(0)
        assert read(other) == RequestDone()
        assert [type(read(line)) for _ in range(3)] == [InstalledVersion, DriveFound, BundleFound]


def test_client_that_goes_away_ends_its_inspection(line_of, computer):
    line = line_of.begin()
    assert computer.reading.is_symlink()
    line.close()
    line_of.server.serve_one(0)
    assert not computer.reading.is_symlink()


def test_client_that_ends_its_inspection_reads_the_end_once_the_stick_is_unmounted(line_of, computer):
    with line_of.begin() as line:
        line.shutdown(socket.SHUT_WR)
        line_of.server.serve_one(0)
        assert not computer.reading.is_symlink()
        assert [type(read(line)) for _ in range(2)] == [InstalledVersion, DriveFound]
        assert line.recv(1) == b""


def test_new_inspection_ends_the_one_under_way(line_of, computer):
    with line_of.begin() as first, line_of.begin() as second:
        assert [type(read(first)) for _ in range(2)] == [InstalledVersion, DriveFound]
        assert first.recv(1) == b""
        assert [type(read(second)) for _ in range(2)] == [InstalledVersion, DriveFound]


def test_client_that_does_not_read_loses_its_inspection(line_of, computer, monkeypatch):
    monkeypatch.setattr("cabinet.system.steward.server.MAX_SILENCE_S", 0.01)
    monkeypatch.setattr("cabinet.system.steward.updates.SLICE_NS", 0)
    computer.system.steps = 10**9
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        line.connect(str(line_of.path))
        line.send(protocol.encode(CheckUpdates()))
        line_of.server.serve_one(10)
        for _ in range(100_000):
            if line_of.server._inspection is None:
                break
            line_of.server.serve_one(0)
        assert line_of.server._inspection is None


def test_steward_that_ends_lets_go_of_the_stick(line_of, computer):
    with line_of.begin():
        assert computer.reading.is_symlink()
        line_of.server.close()
        assert not computer.reading.is_symlink()


def test_console_gets_the_findings_and_nothing_while_there_is_none(line_of):
    client = StewardSocketClient(line_of.path, 10)
    looking = client.inspect_updates()
    assert next(looking) is None, "nobody has served it yet"
    for _ in range(5):
        line_of.server.serve_one(0)
    assert [type(found) for found in looking] == [InstalledVersion, DriveFound, BundleFound]


def test_console_that_ends_an_inspection_waits_until_the_stick_is_unmounted(line_of, computer):
    looking = StewardSocketClient(line_of.path, 10).inspect_updates()
    assert next(looking) is None
    for _ in range(2):
        line_of.server.serve_one(0)
    assert [type(next(looking)) for _ in range(2)] == [InstalledVersion, DriveFound]
    assert computer.reading.is_symlink()

    def serve():
        while line_of.server._inspection is not None:
            line_of.server.serve_one(0)

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    looking.close()
    assert not computer.reading.is_symlink()
    serving.join(10)


def test_console_that_ends_an_inspection_is_refused_if_the_unmount_is_not_confirmed(line_of, monkeypatch):
    monkeypatch.setattr("cabinet.system.steward.client.END_NS", 1_000_000)
    looking = StewardSocketClient(line_of.path, 10).inspect_updates()
    assert next(looking) is None
    with pytest.raises(Refused, match="steward_gone"):
        looking.close()


def test_steward_that_is_silent_for_longer_than_dpkg_may_take_is_gone(line_of, monkeypatch):
    monkeypatch.setattr("cabinet.system.steward.client.WAIT_S", 0)
    clock = ManualClock()
    looking = StewardSocketClient(line_of.path, 10, clock).inspect_updates()
    assert next(looking) is None
    clock.advance_ns(SILENCE_NS - 1)
    assert next(looking) is None
    line_of.server.serve_one(0)
    assert [type(next(looking)) for _ in range(2)] == [InstalledVersion, type(None)]
    clock.advance_ns(SILENCE_NS - 1)
    assert next(looking) is None, "the finding was a sign of life"
    clock.advance_ns(1)
    with pytest.raises(Refused, match="steward_gone"):
        next(looking)


def test_failure_that_ends_an_inspection_is_in_the_log(line_of, computer, caplog):
    computer.mounts.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        line.connect(str(line_of.path))
        line.send(protocol.encode(CheckUpdates()))
        for _ in range(3):
            line_of.server.serve_one(0)
    assert "No such file or directory" in caplog.text


def test_console_is_told_of_a_failure_and_of_a_steward_that_is_killed(line_of, computer):
    client = StewardSocketClient(line_of.path, 10)
    computer.mounts.unlink()
    looking = client.inspect_updates()
    assert next(looking) is None
    for _ in range(3):
        line_of.server.serve_one(0)
    assert isinstance(next(looking), InstalledVersion)
    with pytest.raises(CabinetError, match="No such file or directory"):
        next(looking)
    looking = client.inspect_updates()
    assert next(looking) is None
    line_of.server.close()
    with pytest.raises(Refused, match="steward_gone"):
        next(looking)


def test_steward_that_is_told_to_end_waits_for_no_client(tmp_path, computer):
    server = Server(tmp_path / "steward.sock", frozenset(), computer.steward)
    waiting = threading.Thread(target=server.serve_one, daemon=True)
    waiting.start()
    server.wake()
    waiting.join(10)
    assert not waiting.is_alive()
    server.close()


def test_steward_that_is_not_there_is_a_refusal(tmp_path):
    with pytest.raises(Refused, match="steward_gone"):
        StewardSocketClient(tmp_path / "none.sock", 1).ask(CancelReboot())
