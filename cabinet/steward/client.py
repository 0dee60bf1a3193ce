"""The console's end: one request, one answer, a connection each."""

import contextlib
import socket
from pathlib import Path

from cabinet.errors import CabinetError, LinkError, Refused
from cabinet.steward import protocol
from cabinet.steward.protocol import Answer, Failed, Request

TIMEOUT_S = 30.0  # a backup goes to a slow stick


class StewardLine:
    """Asks the steward at `path`."""

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def ask(self, request: Request) -> Answer:
        """Raises Refused `steward_gone` where there is none, Refused or CabinetError with what could not be done."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as line:
                line.settimeout(self._timeout_s)
                line.connect(str(self._path))
                with contextlib.suppress(BrokenPipeError):  # refused unread: the answer says why
                    line.send(protocol.encode(request))
                answer = protocol.decode_answer(line.recv(protocol.LONGEST_FRAME))
        except (OSError, LinkError) as error:
            raise Refused("steward_gone") from error
        if isinstance(answer, Failed):
            if answer.code:
                raise Refused(answer.code, **answer.params)
            raise CabinetError(answer.text)
        return answer
