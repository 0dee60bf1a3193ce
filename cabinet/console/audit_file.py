"""Audit log of the console: every command goes to a file first, then exactly once into the service's store.

A row is on the disk before its command's answer is shown. `carry` sends the waiting rows to the service and removes
them from the file only after the service has accepted them: while the service is down, rows wait, across restarts and
power cuts. A row that is sent twice is stored once, because its journal id and number identify it.
"""

import contextlib
import errno
import logging
import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec

from cabinet.clock import Clock
from cabinet.errors import CabinetError
from cabinet.link.service_protocol import MAX_ENTRIES, ConsoleAuditEntry
from cabinet.system.atomic_file import sync, write_file

log = logging.getLogger(__name__)

MAX_FILE = 16 * 1024 * 1024  # about 100,000 commands; above this size, rows stay in memory, as on a full disk
MAX_IN_MEMORY = 10_000
MAX_TEXT = 200

Send = Callable[[list[ConsoleAuditEntry]], object]  # raises CabinetError if the service does not accept them

_decoder = msgspec.json.Decoder(ConsoleAuditEntry)


class AuditFile:
    """Queue of rows for the store. Thread-safe: the console writes rows, a separate thread sends them."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Load the rows of an earlier process from `path`. Never raises: staff must be able to work with any disk."""
        self._path = path
        self._clock = clock
        self._journal = uuid.uuid4().hex
        self._seq = 0
        self._lock = threading.Lock()
        self._new = threading.Condition(self._lock)
        self._unwritten: list[ConsoleAuditEntry] = []  # rows that could not be written to the disk
        self._waiting = self._load_unsent()
        self._closing = False
        self._thread: threading.Thread | None = None

    def note(self, account: str, level: str, line: str, outcome: str) -> bool:
        """Add one row. Return False if it could not be written to the disk and is only in memory."""
        wall = self._clock.wall()
        with self._lock:
            self._seq += 1
            entry = ConsoleAuditEntry(
                self._journal,
                self._seq,
                wall,
                account,
                level,
                line[:MAX_TEXT],
                outcome[:MAX_TEXT],
            )
            written = self._append(entry)
            if not written:
                self._unwritten = [*self._unwritten, entry][-MAX_IN_MEMORY:]
            else:
                self._waiting.append(entry)
            self._new.notify_all()
        return written

    @property
    def waiting(self) -> int:
        """Number of rows that are not in the store yet."""
        with self._lock:
            return len(self._waiting) + len(self._unwritten)

    def send_waiting(self, send: Send) -> bool:
        """Send the waiting rows. Return True if none is left.

        Raises any exception of `send`; the unsent rows then keep waiting.
        """
        while True:
            with self._lock:
                written, unwritten = self._waiting[:MAX_ENTRIES], self._unwritten[:MAX_ENTRIES]
            batch = written or unwritten
            if not batch:
                return True
            send(batch)
            with self._lock:
                if written:
                    self._waiting = self._waiting[len(batch) :]
                    if not self._rewrite():
                        return False  # sent again later, and stored once
                else:
                    self._unwritten = self._unwritten[len(batch) :]

    def start_sending(self, send: Send, retry_s: float) -> None:
        """Start a thread that sends rows: at once if there is a new row, else after `retry_s`."""
        self._thread = threading.Thread(target=self._send_forever, args=(send, retry_s), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; unsent rows stay in the file."""
        with self._lock:
            self._closing = True
            self._new.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _send_forever(self, send: Send, retry_s: float) -> None:
        said = False
        while True:
            try:
                self.send_waiting(send)
                said = False
            except CabinetError as error:
                if not said:
                    log.info("audit log waits for the service: %s", error)
                said = True
            with self._lock:
                if not self._closing and (said or not (self._waiting or self._unwritten)):
                    self._new.wait(retry_s)
                if self._closing:
                    return

    def _load_unsent(self) -> list[ConsoleAuditEntry]:
        """Return the rows of an earlier process; a line torn by a power cut is removed."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            log.warning("%s: %s: earlier rows of the audit log wait there", self._path, error.strerror)
            return []
        entries = []
        for line in data.split(b"\n"):
            with contextlib.suppress(msgspec.DecodeError, msgspec.ValidationError):
                entries.append(_decoder.decode(line))
        if data and not data.endswith(b"\n"):
            self._waiting = entries
            self._rewrite()
        return entries

    def _append(self, entry: ConsoleAuditEntry) -> bool:
        try:
            new = not self._path.exists()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                _write_whole(descriptor, msgspec.json.encode(entry) + b"\n")
            finally:
                os.close(descriptor)
            if new:
                sync(self._path.parent)  # a new file's name must survive a power cut too
        except OSError as error:
            log.warning("%s: %s: the audit log is only in memory", self._path, error.strerror)
            return False
        return True

    def _rewrite(self) -> bool:
        """Replace the file with the waiting rows, atomically. Return False if that fails."""
        try:
            write_file(self._path, b"".join(msgspec.json.encode(entry) + b"\n" for entry in self._waiting), 0o600)
        except OSError as error:
            log.warning("%s: %s", self._path, error.strerror)
            return False
        return True


def _write_whole(descriptor: int, data: bytes) -> None:
    """Append all of `data` or nothing: half a row would corrupt the next one. Raises OSError."""
    size = os.fstat(descriptor).st_size
    if size > MAX_FILE:
        raise OSError(errno.ENOSPC, "more rows than may wait: start the service")
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise
