"""Steward socket: one request after the other. The kernel, not the request, identifies the client."""

import logging
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path

from cabinet.errors import CabinetError, LinkError
from cabinet.system.socket_peer import peer_uid
from cabinet.system.steward import protocol
from cabinet.system.steward.protocol import Answer, CheckUpdates, Failed, Request

log = logging.getLogger(__name__)

MAX_WAITING = 64
PATIENCE_S = 2.0  # a silent client blocks the others no longer than this


class Server:
    """Server on `path`, for the accounts `uids` only."""

    def __init__(self, path: Path, uids: frozenset[int], answer: Callable[[Request], Answer]) -> None:
        self._path = path
        self._uids = uids
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._woken, self._wake = socket.socketpair()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            self._socket.bind(str(path))
            os.chmod(path, 0o666)  # the folder admits only the cabinet's group; `uids` decides
            self._socket.listen(MAX_WAITING)
        except OSError as error:
            raise CabinetError(f"{path}: cannot be served ({error.strerror})") from error

    def serve_one(self, timeout_s: float | None = None) -> bool:
        """Serve the next client completely. Return False if none connected in time, or if `wake` was called."""
        ready, _, _ = select.select([self._socket, self._woken], [], [], timeout_s)
        if self._socket not in ready:
            return False
        client, _ = self._socket.accept()
        with client:
            try:
                client.send(protocol.encode(self._reply(client)))
            except OSError as error:
                log.warning("a client went away: %s", error)
        return True

    def wake(self) -> None:
        """End the wait for a client. A signal handler may call it: the signal alone does not end a wait."""
        self._wake.send(b"\0")

    def close(self) -> None:
        self._socket.close()
        self._woken.close()
        self._wake.close()
        self._path.unlink(missing_ok=True)

    def _reply(self, client: socket.socket) -> Answer:
        uid = peer_uid(client)
        known = uid in self._uids
        client.settimeout(PATIENCE_S)
        if not known:
            client.shutdown(socket.SHUT_RD)  # do not wait for data it has not sent: the console comes next
        frame = client.recv(protocol.MAX_FRAME)  # always read: if it is left unread, the answer is lost
        if not known:
            log.warning("refused: user %d is not the console's", uid)
            return Failed("the steward serves the console only")
        try:
            request = protocol.decode_request(frame)
        except LinkError as error:
            return Failed(str(error))
        goes_on = isinstance(request, CheckUpdates) and request.step == "next"
        log.log(logging.DEBUG if goes_on else logging.INFO, "%s", request)  # sent twice a second: not worth INFO
        answer = self._answer(request)
        if isinstance(answer, Failed):
            log.warning("%s", answer.text)
        return answer
