"""The console's audit log: on the disk before it is said, and in the store once, whatever dies in between."""

import errno
import os
import threading

import pytest

from cabinet.clock import ManualClock
from cabinet.console.audit_file import MAX_FILE, AuditFile
from cabinet.errors import Refused
from cabinet.link.service_protocol import MAX_ENTRIES, ConsoleAuditEntry


class Store:
    """Keeps each row once, as the service does (`store.audit.add_console`)."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], ConsoleAuditEntry] = {}
        self.gone = False
        self.dies_after_commit = False

    def send(self, entries: list[ConsoleAuditEntry]) -> None:
        assert len(entries) <= MAX_ENTRIES
        if self.gone:
            raise Refused("service_gone")
        self.kept |= {(entry.journal, entry.seq): entry for entry in entries}
        if self.dies_after_commit:
            raise Refused("service_gone")

    @property
    def lines(self) -> list[str]:
        return [entry.line for entry in self.kept.values()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "console-audit.jsonl"


@pytest.fixture
def journal(path):
    return AuditFile(path, ManualClock())


def test_row_is_in_the_file_when_note_returns(journal, path):
    assert journal.note("tech", "service", "off 3", "ok")
    assert b'"line":"off 3","outcome":"ok"' in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


def test_carried_rows_leave_the_file(journal, path):
    store = Store()
    for line in ("off 3", "clear 3"):
        journal.note("tech", "service", line, "ok")
    assert journal.send_waiting(store.send)
    assert store.lines == ["off 3", "clear 3"]
    assert path.read_bytes() == b""
    assert journal.waiting == 0


def test_with_the_service_dead_rows_wait_over_restarts_and_keep_their_order(journal, path):
    store = Store()
    store.gone = True
    journal.note("tech", "service", "off 3", "ok")
    with pytest.raises(Refused):
        journal.send_waiting(store.send)
    second = AuditFile(path, ManualClock())
    second.note("night", "look", "status", "ok")
    store.gone = False
    assert AuditFile(path, ManualClock()).send_waiting(store.send)
    assert store.lines == ["off 3", "status"]


def test_row_whose_acknowledgement_got_lost_is_kept_once(journal, path):
    store = Store()
    store.dies_after_commit = True
    journal.note("tech", "service", "off 3", "ok")
    with pytest.raises(Refused):
        journal.send_waiting(store.send)
    store.dies_after_commit = False
    again = AuditFile(path, ManualClock())
    again.note("tech", "service", "off 4", "ok")
    again.send_waiting(store.send)
    assert store.lines == ["off 3", "off 4"]


def test_more_rows_than_one_question_holds_all_arrive(journal):
    store = Store()
    for number in range(MAX_ENTRIES + 7):
        journal.note("tech", "look", f"outlet {number}", "ok")
    assert journal.send_waiting(store.send)
    assert store.lines == [f"outlet {number}" for number in range(MAX_ENTRIES + 7)]


@pytest.mark.parametrize("torn", [b'{"journal":"x"', b"\xff\xfe", b'{"journal":"j","seq":1,'])
def test_row_that_a_power_cut_tore_spoils_no_other(journal, path, torn):
    journal.note("tech", "service", "off 3", "ok")
    with path.open("ab") as file:
        file.write(torn)
    again = AuditFile(path, ManualClock())
    again.note("tech", "service", "off 4", "ok")
    store = Store()
    AuditFile(path, ManualClock()).send_waiting(store.send)
    assert store.lines == ["off 3", "off 4"]


def test_full_disk_keeps_rows_in_memory_and_says_so(journal, path, monkeypatch):
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        real(descriptor, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    journal.note("tech", "service", "off 3", "ok")
    monkeypatch.setattr("os.write", half)
    assert not journal.note("tech", "service", "off 4", "ok")
    monkeypatch.undo()
    assert journal.note("tech", "service", "off 5", "ok")
    assert path.read_bytes().count(b"\n") == 2, "nothing is left of the half row"
    store = Store()
    journal.send_waiting(store.send)
    assert sorted(store.lines) == ["off 3", "off 4", "off 5"]


def test_file_does_not_grow_for_ever(journal, path):
    journal.note("tech", "service", "off 3", "ok")
    with path.open("ab") as file:
        file.truncate(MAX_FILE + 1)
    assert not journal.note("tech", "service", "off 4", "ok")
    assert path.stat().st_size == MAX_FILE + 1


def test_thread_carries_what_is_noted_and_ends_when_told(journal):
    arrived = threading.Event()
    seen: list[str] = []

    def send(entries: list[ConsoleAuditEntry]) -> None:
        seen.extend(entry.line for entry in entries)
        arrived.set()

    journal.start_sending(send, retry_s=60)
    journal.note("tech", "service", "off 3", "ok")
    assert arrived.wait(20)
    journal.close()
    assert seen == ["off 3"]
