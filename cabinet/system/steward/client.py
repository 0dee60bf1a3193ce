"""Client of the steward in the console: one connection per request and answer."""

import contextlib
import socket
from pathlib import Path

from cabinet.errors import CabinetError, LinkError, Refused
from cabinet.system.steward import protocol
from cabinet.system.steward.protocol import Answer, Failed, Request

TIMEOUT_S = 30.0  # long enough for a backup to a slow stick


class StewardSocketClient:
    """Client of the steward at `path`."""

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def ask(self, request: Request) -> Answer:
        """Send a request and return the answer.

        Raises Refused `steward_gone` if there is no steward, Refused or CabinetError if the request failed.
        """
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as line:
                line.settimeout(self._timeout_s)
                line.connect(str(self._path))
                with contextlib.suppress(BrokenPipeError):  # refused before it was read: the answer gives the reason
                    line.send(protocol.encode(request))
                answer = protocol.decode_answer(line.recv(protocol.MAX_FRAME))
        except (OSError, LinkError) as error:
            raise Refused("steward_gone") from error
        if isinstance(answer, Failed):
            if answer.code:
                raise Refused(answer.code, **answer.params)
            raise CabinetError(answer.text)
        return answer
