"""Steward socket: one request after the other, and one inspection meanwhile. The kernel identifies the client."""

import logging
import os
import select
import socket
from collections.abc import Generator
from pathlib import Path

from cabinet.errors import CabinetError, LinkError
from cabinet.system.socket_peer import peer_uid
from cabinet.system.steward import protocol
from cabinet.system.steward.protocol import Answer, CheckUpdates, Failed
from cabinet.system.steward.requests import StewardRequests

log = logging.getLogger(__name__)

MAX_WAITING = 64
MAX_SILENCE_S = 2.0  # a silent client blocks the others no longer than this


class Server:
    """Server on `path`, for the accounts `uids` only."""

    def __init__(self, path: Path, uids: frozenset[int], requests: StewardRequests) -> None:
        self._path = path
        self._uids = uids
        self._requests = requests
        self._inspection: tuple[socket.socket, Generator[Answer, None, None]] | None = None
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
        """Serve the next client completely, but an inspection only one step further, and do not wait during one.

        Return False if no client connected in time, or if `wake` was called.
        """
        inspecting = [] if self._inspection is None else [self._inspection[0]]
        ready, _, _ = select.select([self._socket, self._woken, *inspecting], [], [], 0 if inspecting else timeout_s)
        if any(client in ready for client in inspecting):  # it ends its inspection, and waits for the unmount
            self._end_inspection()
        if connected := self._socket in ready:
            client, _ = self._socket.accept()
            try:
                answer = self._reply(client)
                if answer is not None:
                    client.send(protocol.encode(answer))
                    client.close()
            except OSError as error:
                log.warning("a client went away: %s", error)
                client.close()
        self._inspect_on()
        return connected

    def wake(self) -> None:
        """End the wait for a client. A signal handler may call it: the signal alone does not end a wait."""
        self._wake.send(b"\0")

    def close(self) -> None:
        self._end_inspection()
        self._socket.close()
        self._woken.close()
        self._wake.close()
        self._path.unlink(missing_ok=True)

    def _inspect_on(self) -> None:
        """Send the next answer of the inspection; end it after the last, or if its client is gone or does not read."""
        if self._inspection is None:
            return
        client, answers = self._inspection
        try:
            if (answer := next(answers, None)) is not None:
                if isinstance(answer, Failed):
                    log.warning("%s", answer.text)
                client.send(protocol.encode(answer))
                return
        except OSError as error:
            log.info("the inspection is over: its client went away (%s)", error)
        self._end_inspection()

    def _end_inspection(self) -> None:
        """Close and unmount everything that the inspection uses, then its connection: this reports the unmount."""
        if self._inspection is not None:
            client, answers = self._inspection
            self._inspection = None
            answers.close()
            client.close()

    def _reply(self, client: socket.socket) -> Answer | None:
        """Return the answer; None if an inspection begins, which has its own."""
        uid = peer_uid(client)
        known = uid in self._uids
        client.settimeout(MAX_SILENCE_S)
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
        log.info("%s", request)
        if isinstance(request, CheckUpdates):
            self._end_inspection()
            self._inspection = client, self._requests.inspect()
            return None
        answer = self._requests.answer(request)
        if isinstance(answer, Failed):
            log.warning("%s", answer.text)
        return answer
