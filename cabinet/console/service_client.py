"""Console connection to the service: one query and one answer per connection, with a timeout."""

import socket
from pathlib import Path
from typing import TypeVar

from cabinet.errors import LinkError, Refused
from cabinet.link import service_protocol
from cabinet.link.service_protocol import Answer, Query, QueryRefusal

T = TypeVar("T")

CHUNK = 65_536


class ServiceSocketClient:
    """Client of the service socket at `path`."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def ask(self, asked: Query, kind: type[T]) -> T:
        """Return the answer, of type `kind`.

        Raises Refused: `service_gone` if no service answers in time, otherwise with the service's own code.
        """
        try:
            answer = self._exchange(asked)
        except (OSError, LinkError) as error:
            raise Refused("service_gone") from error
        if isinstance(answer, QueryRefusal):
            raise Refused(answer.code)
        if not isinstance(answer, kind):
            raise Refused("service_gone")
        return answer

    def _exchange(self, asked: Query) -> Answer:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(self._timeout_s)
            sock.connect(str(self._path))
            sock.sendall(service_protocol.encode(asked))
            line = bytearray()
            while not line.endswith(b"\n"):
                chunk = sock.recv(CHUNK)
                if not chunk or len(line) > service_protocol.MAX_LINE:
                    raise LinkError(f"{self._path}: no whole answer")
                line += chunk
        return service_protocol.decode_answer(bytes(line))
