"""Client of the steward in the console: one connection per request and answer."""

import contextlib
import socket
from collections.abc import Generator, Iterator
from pathlib import Path

from cabinet.clock import NS, Clock, SystemClock
from cabinet.errors import CabinetError, LinkError, Refused
from cabinet.system.steward import protocol
from cabinet.system.steward.protocol import Answer, CheckUpdates, Failed, InspectionItem, Request

TIMEOUT_S = 30.0  # long enough for a backup to a slow stick
WAIT_S = 0.2  # for the next finding: the console serves its port meanwhile
SILENCE_NS = 150 * NS  # without a frame: one call of dpkg may take 120 s
END_NS = 15 * NS  # of an inspection ended early: one more slice, and an unmount of at most 10 s


class StewardSocketClient:
    """Client of the steward at `path`."""

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S, clock: Clock | None = None) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._clock = SystemClock() if clock is None else clock

    def ask(self, request: Request) -> Answer:
        """Send a request and return the answer.

        Raises Refused `steward_gone` if there is no steward, Refused or CabinetError if the request failed.
        """
        with self._sent(request) as line:
            return _answer(line)

    def inspect_updates(self) -> Generator[InspectionItem | None, None, None]:
        """Yield the findings as they come, and None when no more are queued. Raises as `ask`.

        After a None it waits up to `WAIT_S` for the next finding. Raises Refused `steward_gone` after `SILENCE_NS`
        without any. Closing it ends the inspection and returns when the drives are unmounted; it raises Refused
        `steward_gone` if that is not confirmed within `END_NS`.
        """
        with self._sent(CheckUpdates()) as line:
            last_ns, wait_s = self._clock.monotonic_ns(), WAIT_S
            try:
                while True:
                    line.settimeout(wait_s)
                    try:
                        found = _answer(line)
                    except (TimeoutError, BlockingIOError):
                        if self._clock.monotonic_ns() - last_ns >= SILENCE_NS:
                            raise
                        yield None
                        wait_s = WAIT_S
                        continue
                    if not isinstance(found, InspectionItem):
                        return
                    last_ns, wait_s = self._clock.monotonic_ns(), 0
                    yield found
            except GeneratorExit:
                self._wait_for_end(line)
                raise

    def _wait_for_end(self, line: socket.socket) -> None:
        """End the inspection; return when the steward, after unmounting, closes the connection. Raises OSError."""
        line.shutdown(socket.SHUT_WR)
        until_ns = self._clock.monotonic_ns() + END_NS
        while (left_ns := until_ns - self._clock.monotonic_ns()) > 0:
            line.settimeout(left_ns / NS)
            if not line.recv(protocol.MAX_FRAME):
                return
        raise TimeoutError

    @contextlib.contextmanager
    def _sent(self, request: Request) -> Iterator[socket.socket]:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as line:
                line.settimeout(self._timeout_s)
                line.connect(str(self._path))
                with contextlib.suppress(BrokenPipeError):  # refused before it was read: the answer gives the reason
                    line.send(protocol.encode(request))
                yield line
        except (OSError, LinkError) as error:
            raise Refused("steward_gone") from error


def _answer(line: socket.socket) -> Answer:
    answer = protocol.decode_answer(line.recv(protocol.MAX_FRAME))
    if not isinstance(answer, Failed):
        return answer
    if answer.code:
        raise Refused(answer.code, **answer.params)
    raise CabinetError(answer.text)
