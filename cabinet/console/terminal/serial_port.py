"""Serial port of the console: transfers bytes between port and dialogue until the process ends.

If the port cannot be opened, disappears or hangs up, the login ends and the port is opened again; no input ends the
process.
"""

import logging
from collections.abc import Callable
from typing import Protocol

import serial

from cabinet.console.terminal.port_owner import held_by
from cabinet.console.terminal.session import TerminalSession

log = logging.getLogger(__name__)

READ_TIMEOUT_S = 0.1  # interval of live views and of the idle login check
WRITE_TIMEOUT_S = 10.0  # for `PIECE`, which takes 0.3 s at 9600 baud
PIECE = 256  # bytes per write; between two writes the port is checked for Ctrl-C
TURNS_A_BEAT = 4  # read turns per watchdog report to the service manager
CHUNK = 4096
MIN_RETRY_S = 0.5
MAX_RETRY_S = 5.0


class UnpluggedError(OSError):
    """Raised if no terminal is connected yet: not logged as a warning, and retried at once."""


class SerialPort(Protocol):
    """The used part of `serial.Serial`. Failures raise OSError (serial.SerialException is a subclass)."""

    @property
    def in_waiting(self) -> int: ...
    def read(self, size: int = 1) -> bytes: ...
    def write(self, data: bytes, /) -> int | None: ...
    def close(self) -> None: ...


def open_port(device: str, baud: int) -> SerialPort:
    """Open the serial port, 8N1, for exclusive use. Raises OSError if it is in use or cannot be opened."""
    if (holder := held_by(device)) is not None:
        raise OSError(holder)
    line = serial.Serial(device, baud, timeout=READ_TIMEOUT_S, write_timeout=WRITE_TIMEOUT_S, exclusive=True)
    return CarrierDetectPort(line)


class CarrierDetectPort:
    """Serial port with carrier detection: `read` raises OSError if the carrier drops, because the other end hung up."""

    def __init__(self, line: serial.Serial) -> None:
        self._line = line
        self._had_carrier = self._carrier() is True

    @property
    def in_waiting(self) -> int:
        return int(self._line.in_waiting)

    def read(self, size: int = 1) -> bytes:
        data: bytes = self._line.read(size)
        if not data:
            carrier = self._carrier()
            if self._had_carrier and carrier is False:
                raise OSError("carrier lost: the other end hung up")
            self._had_carrier = self._had_carrier or carrier is True
        return data

    def write(self, data: bytes, /) -> int | None:
        written: int | None = self._line.write(data)
        return written

    def close(self) -> None:
        self._line.close()

    def _carrier(self) -> bool | None:
        """Return the carrier signal.

        None: the port has none (a pseudo-terminal), or the adapter is gone and the next read fails.
        """
        try:
            return bool(self._line.cd)
        except OSError:
            return None


class SerialServer:
    """Server of one serial port; runs until `stopping` is set."""

    def __init__(
        self,
        open_: Callable[[], SerialPort],
        conversation: TerminalSession,
        wait: Callable[[float], object],
        beat: Callable[[], None],
    ) -> None:
        """`wait` sleeps between two attempts to open; `beat` is called every half second in normal operation."""
        self._open = open_
        self._conversation = conversation
        self._wait = wait
        self._beat = beat
        self._early = b""  # input received during a transmission
        self.stopping = False

    def serve(self) -> None:
        """Serve the port. Returns within half a second after `stopping` is set, or when `wait` returns."""
        retry_s = MIN_RETRY_S
        said = ""
        while not self.stopping:
            self._beat()
            try:
                port = self._open()
            except UnpluggedError:  # the opener has already waited for a cable
                continue
            except (OSError, ValueError) as error:
                if str(error) != said:  # log the same error once, not every five seconds
                    log.warning("console port: %s; trying again", error)
                    said = str(error)
                self._wait(retry_s)
                retry_s = min(2 * retry_s, MAX_RETRY_S)
                continue
            retry_s, said = MIN_RETRY_S, ""
            self._until_lost(port)

    def _until_lost(self, port: SerialPort) -> None:
        turns = 0
        try:
            self._send(port, self._conversation.greet())
            while not self.stopping:
                data = self._early or port.read(max(1, min(port.in_waiting, CHUNK)))
                self._early = b""
                self._send(port, self._conversation.take(data) if data else self._conversation.tick())
                turns += 1
                if turns % TURNS_A_BEAT == 0:
                    self._beat()
        except OSError as error:
            log.info("console line lost: %s", error)
        finally:
            self._early = b""
            self._conversation.hang_up()
            port.close()

    def _send(self, port: SerialPort, answer: bytes) -> None:
        """Write the answer piece by piece; a Ctrl-C received meanwhile stops it.

        Other input received meanwhile is kept, or discarded if the answer ends with a question: it was typed before
        the question was visible.
        """
        for start in range(0, len(answer), PIECE):
            last = start + PIECE >= len(answer)
            if last and self._conversation.discard_typeahead:
                self._discard_input(port)
            port.write(answer[start : start + PIECE])
            if not last and port.in_waiting:
                self._early += port.read(min(port.in_waiting, CHUNK))
                self._beat()
                if b"\x03" in self._early:
                    return
                if len(self._early) > CHUNK:
                    self._early = self._early[-CHUNK:]

    def _discard_input(self, port: SerialPort) -> None:
        """Discard the input received so far, except a Ctrl-C."""
        typed = self._early + (port.read(min(port.in_waiting, CHUNK)) if port.in_waiting else b"")
        self._early = b"\x03" if b"\x03" in typed else b""
