"""Client of the steward in the console: one connection per request and answer."""

import contextlib
import socket
from collections.abc import Generator, Iterator
from pathlib import Path

from cabinet.errors import CabinetError, LinkError, Refused
from cabinet.system.steward import protocol
from cabinet.system.steward.protocol import Answer, CheckUpdates, Failed, InspectionItem, Request

TIMEOUT_S = 30.0  # long enough for a backup to a slow stick
WAIT_S = 0.2  # for the next finding: the console serves its port meanwhile


class StewardSocketClient:
    """Client of the steward at `path`."""

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def ask(self, request: Request) -> Answer:
        """Send a request and return the answer.

        Raises Refused `steward_gone` if there is no steward, Refused or CabinetError if the request failed.
        """
        with self._sent(request) as line:
            return _answer(line)

    def inspect_updates(self) -> Generator[InspectionItem | None, None, None]:
        """Yield the findings as they come, and None after each `WAIT_S` without one. Raises as `ask`.

        Closing it ends the inspection.
        """
        with self._sent(CheckUpdates()) as line:
            line.settimeout(WAIT_S)
            while True:
                try:
                    found = _answer(line)
                except TimeoutError:
                    yield None
                    continue
                if not isinstance(found, InspectionItem):
                    return
                yield found

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
