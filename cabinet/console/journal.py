"""The audit log of the console: every command, in a file first, and from there into the service's store, once each.

A row is on the disk before its command's answer is shown. `carry` hands what is there to the service whenever it
answers, and only then takes it out of the file: with the service dead rows wait, over restarts and power cuts. A row
that was handed over twice is kept once, as its journal and number say which it is.
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
from cabinet.link.records import MOST_ENTRIES, At, Entry

log = logging.getLogger(__name__)

LONGEST_FILE = 16 * 1024 * 1024  # a hundred thousand commands; beyond, rows are kept in memory as on a full disk
MOST_IN_MEMORY = 10_000
LONGEST_TEXT = 200

Send = Callable[[list[Entry]], None]  # raises CabinetError where the service does not take them

_decoder = msgspec.json.Decoder(Entry)


class Journal:
    """Rows on their way into the store. Thread-safe: the console writes, a thread of its own carries."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Takes up what an earlier process left in `path`. Never raises: staff must be able to work on any disk."""
        self._path = path
        self._clock = clock
        self._journal = uuid.uuid4().hex
        self._seq = 0
        self._lock = threading.Lock()
        self._new = threading.Condition(self._lock)
        self._unwritten: list[Entry] = []  # the disk took no more
        self._waiting = self._left_behind()
        self._closing = False
        self._thread: threading.Thread | None = None

    def note(self, account: str, level: str, line: str, outcome: str) -> bool:
        """One row; False where it could not be written down and is only in memory."""
        wall = self._clock.wall()
        with self._lock:
            self._seq += 1
            entry = Entry(
                self._journal,
                self._seq,
                At(wall.unix_ms, wall.trusted),
                account,
                level,
                line[:LONGEST_TEXT],
                outcome[:LONGEST_TEXT],
            )
            written = self._append(entry)
            if not written:
                self._unwritten = [*self._unwritten, entry][-MOST_IN_MEMORY:]
            else:
                self._waiting.append(entry)
            self._new.notify_all()
        return written

    @property
    def waiting(self) -> int:
        """How many rows are not in the store yet."""
        with self._lock:
            return len(self._waiting) + len(self._unwritten)

    def carry(self, send: Send) -> bool:
        """Hand over what waits; True where nothing is left. Raises what `send` raises, and then all of it waits on."""
        while True:
            with self._lock:
                written, unwritten = self._waiting[:MOST_ENTRIES], self._unwritten[:MOST_ENTRIES]
            batch = written or unwritten
            if not batch:
                return True
            send(batch)
            with self._lock:
                if written:
                    self._waiting = self._waiting[len(batch) :]
                    if not self._rewrite():
                        return False  # handed over again later, and kept once
                else:
                    self._unwritten = self._unwritten[len(batch) :]

    def carry_on(self, send: Send, retry_s: float) -> None:
        """Carry in a thread from now on: at once when there is something new, else after `retry_s`."""
        self._thread = threading.Thread(target=self._carry_forever, args=(send, retry_s), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; what waits, waits in the file."""
        with self._lock:
            self._closing = True
            self._new.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _carry_forever(self, send: Send, retry_s: float) -> None:
        said = False
        while True:
            try:
                self.carry(send)
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

    def _left_behind(self) -> list[Entry]:
        """What an earlier process wrote; a line that a power cut left torn is cut off."""
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

    def _append(self, entry: Entry) -> bool:
        try:
            new = not self._path.exists()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                _write_whole(descriptor, msgspec.json.encode(entry) + b"\n")
            finally:
                os.close(descriptor)
            if new:
                _sync_folder(self._path.parent)
        except OSError as error:
            log.warning("%s: %s: the audit log is only in memory", self._path, error.strerror)
            return False
        return True

    def _rewrite(self) -> bool:
        """The file with what waits, whole or as before."""
        beside = self._path.with_name(self._path.name + ".new")
        try:
            beside.unlink(missing_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"".join(msgspec.json.encode(entry) + b"\n" for entry in self._waiting))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
            _sync_folder(self._path.parent)
        except OSError as error:
            log.warning("%s: %s", self._path, error.strerror)
            return False
        return True


def _write_whole(descriptor: int, data: bytes) -> None:
    """On the disk, or nothing of it: half a row would spoil the next one. Raises OSError."""
    size = os.fstat(descriptor).st_size
    if size > LONGEST_FILE:
        raise OSError(errno.ENOSPC, "more rows than may wait: start the service")
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, size)
        raise


def _sync_folder(folder: Path) -> None:
    """So that a new file's name survives a power cut too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
