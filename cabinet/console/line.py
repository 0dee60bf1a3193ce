"""The edge of the console: bytes of a serial port to and from the dialogue, for as long as the process lives.

A port that cannot be opened, vanishes or hangs up ends the login and is tried again; nothing that comes over it ends
the process.
"""

import logging
from collections.abc import Callable
from typing import Protocol

import serial

from cabinet.console.editing import Echo, Key, LineEditor
from cabinet.console.shell import Reply, Shell

log = logging.getLogger(__name__)

READ_TIMEOUT_S = 0.5  # how often idle logins are looked at
WRITE_TIMEOUT_S = 10.0  # the longest screen takes 3 s at 9600 baud
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


class Conversation:
    """One line editor and one dialogue: bytes in, bytes out. Does not wait for anything but the guard."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._editor = LineEditor()

    def greet(self) -> bytes:
        return self._out(self._shell.greet())

    def take(self, data: bytes) -> bytes:
        """What typing `data` puts on the terminal."""
        out = b""
        for happened in self._editor.feed(data):
            if isinstance(happened, Echo):
                out += _encoded(happened.text)
            elif happened is Key.INTERRUPT:
                out += self._out(self._shell.interrupt())
            elif happened is Key.END:
                out += self._out(self._shell.end())
            elif happened is Key.TOO_LONG:
                out += self._out(self._shell.too_long())
            else:
                out += self._out(self._shell.line(happened.text))
        return out

    def tick(self) -> bytes:
        reply = self._shell.tick()
        if reply is None:
            return b""
        self._editor.reset()
        return b"\r\n" + self._out(reply)

    def hang_up(self) -> None:
        self._editor.reset()
        self._shell.hang_up()

    def _out(self, reply: Reply) -> bytes:
        self._editor.secret = reply.secret
        return _encoded(f"{reply.text}\n{reply.prompt}" if reply.text else reply.prompt)


def _encoded(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def open_port(device: str, baud: int) -> Port:
    """The serial line, 8N1, for us alone. Raises OSError where it cannot be had."""
    port: Port = serial.Serial(device, baud, timeout=READ_TIMEOUT_S, write_timeout=WRITE_TIMEOUT_S, exclusive=True)
    return port


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
        try:
            port.write(self._conversation.greet())
            while not self.stopping:
                data = port.read(max(1, port.in_waiting))
                answer = self._conversation.take(data) if data else self._conversation.tick()
                if answer:
                    port.write(answer)
                self._beat()
        except OSError as error:
            log.info("console line lost: %s", error)
        finally:
            self._conversation.hang_up()
            port.close()
