"""The edge of the console: bytes of a serial port to and from the dialogue, for as long as the process lives.

A port that cannot be opened, vanishes or hangs up ends the login and is tried again; nothing that comes over it ends
the process.
"""

import logging
from collections.abc import Callable
from typing import Protocol

import serial

from cabinet.console.conversation import Conversation
from cabinet.console.holder import held_by

log = logging.getLogger(__name__)

READ_TIMEOUT_S = 0.1  # how soon something live goes on, and idle logins are looked at
WRITE_TIMEOUT_S = 10.0  # for `PIECE`, which takes 0.3 s at 9600 baud
PIECE = 256  # bytes written at once: between two of them a Ctrl-C is heard
TURNS_A_BEAT = 4  # the service manager is told that all is well
CHUNK = 4096
SHORTEST_RETRY_S = 0.5
LONGEST_RETRY_S = 5.0


class UnpluggedError(OSError):
    """Nobody at the other end yet: not worth a warning, and to be asked again at once."""


class Port(Protocol):
    """The used part of `serial.Serial`. Failures are OSError (serial.SerialException is one)."""

    @property
    def in_waiting(self) -> int: ...
    def read(self, size: int = 1) -> bytes: ...
    def write(self, data: bytes, /) -> int | None: ...
    def close(self) -> None: ...


def open_port(device: str, baud: int) -> Port:
    """The serial line, 8N1, for us alone. Raises OSError where it cannot be had."""
    if (holder := held_by(device)) is not None:
        raise OSError(holder)
    line = serial.Serial(device, baud, timeout=READ_TIMEOUT_S, write_timeout=WRITE_TIMEOUT_S, exclusive=True)
    return Wire(line)


class Wire:
    """A serial port whose carrier, where it has one, ends the conversation when it drops: somebody hung up."""

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
        """None: this line has no such signal (a pseudo-terminal), or the adapter is gone and reading will say so."""
        try:
            return bool(self._line.cd)
        except OSError:
            return None


class Line:
    """Serves one line until told to stop."""

    def __init__(
        self,
        open_: Callable[[], Port],
        conversation: Conversation,
        wait: Callable[[float], None],
        beat: Callable[[], None],
    ) -> None:
        """`wait` sleeps between two attempts to open; `beat` is called every half second while all is well."""
        self._open = open_
        self._conversation = conversation
        self._wait = wait
        self._beat = beat
        self._early = b""  # typed while something was being sent
        self.stopping = False

    def serve(self) -> None:
        """Returns after `stopping` was set (within half a second, or when `wait` returns)."""
        retry_s = SHORTEST_RETRY_S
        said = ""
        while not self.stopping:
            self._beat()
            try:
                port = self._open()
            except UnpluggedError:  # whoever raised it has waited for a cable already
                continue
            except (OSError, ValueError) as error:
                if str(error) != said:  # once, not every five seconds
                    log.warning("console port: %s; trying again", error)
                    said = str(error)
                self._wait(retry_s)
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)
                continue
            retry_s, said = SHORTEST_RETRY_S, ""
            self._until_lost(port)

    def _until_lost(self, port: Port) -> None:
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

    def _send(self, port: Port, answer: bytes) -> None:
        """Piece by piece; a Ctrl-C meanwhile ends it. What else is typed meanwhile waits; it is no answer to a question
        that was not there yet."""
        for start in range(0, len(answer), PIECE):
            last = start + PIECE >= len(answer)
            if last and self._conversation.asks_anew:
                self._unhear(port)
            port.write(answer[start : start + PIECE])
            if not last and port.in_waiting:
                self._early += port.read(min(port.in_waiting, CHUNK))
                self._beat()
                if b"\x03" in self._early:
                    return
                if len(self._early) > CHUNK:
                    self._early = self._early[-CHUNK:]

    def _unhear(self, port: Port) -> None:
        """What was typed so far is forgotten, but for a Ctrl-C."""
        typed = self._early + (port.read(min(port.in_waiting, CHUNK)) if port.in_waiting else b"")
        self._early = b"\x03" if b"\x03" in typed else b""
