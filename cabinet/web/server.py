"""The web server in front of an application: listener, seats, gate, and uvicorn without its own signals."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from typing import Protocol

import uvicorn
from litestar.types import ASGIApp

from cabinet.clock import SystemClock
from cabinet.errors import CabinetError
from cabinet.web.address import Networks
from cabinet.web.connections import Acceptor, ConnectionLimits, Seat, SeatedProtocol, Seats
from cabinet.web.gate import Gate, GateLimits
from cabinet.web.source_log import SourceLog

BACKLOG = 1024  # the kernel's queue, for a burst; a client that is not in it retries after 1 s
SEND_BUFFER_BYTES = 128 * 1024  # per connection; the kernel doubles it: a stalled reader holds no more
GRACE_S = 3  # for requests in progress when the service is stopped


class ServerSection(Protocol):
    """Keys of the configuration that the server needs."""

    @property
    def tls_certificate(self) -> str: ...
    @property
    def tls_key(self) -> str: ...
    @property
    def trusted_proxies(self) -> tuple[str, ...]: ...
    @property
    def connections_per_address(self) -> int: ...


class DoorServer(uvicorn.Server):
    """uvicorn server that reports when it serves and leaves signals to us: uvicorn would raise them again at its end.

    `cabinet.web.connections` accepts the connections and gives each a seat and a deadline.
    """

    def __init__(self, config: uvicorn.Config, seats: Seats, log: SourceLog, serving: Callable[[], None]) -> None:
        super().__init__(config)
        self._seats = seats
        self._log = log
        self._serving = serving

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        for listener in sockets or []:
            self.servers.append(Acceptor(listener, self._protocol, self._seats, self._log, self.config.ssl))  # type: ignore[arg-type]
        self._serving()

    def _protocol(self, seat: Seat) -> SeatedProtocol:
        return SeatedProtocol(
            seat, self._log, config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def make_server(
    app: ASGIApp,
    section: ServerSection,
    serving: Callable[[], None] = lambda: None,
    limits: ConnectionLimits | None = None,
) -> uvicorn.Server:
    """Return the web server over `app`; run it with `serve(sockets=[…])`."""
    limits = limits or ConnectionLimits(max_of_source=section.connections_per_address)
    requests = limits.max_connections * 4 // 5
    gated = Gate(app, GateLimits(max_requests=requests, max_of_source=limits.max_of_source))
    seats = Seats(limits, Networks(section.trusted_proxies))
    return DoorServer(server_config(gated, section), seats, SourceLog(SystemClock()), serving)


def server_config(app: object, section: ServerSection) -> uvicorn.Config:
    """Return uvicorn's configuration; only the proxies in our configuration may set the client address of a request."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # any ASGI application; Litestar's own type is narrower
        http=SeatedProtocol,
        loop="asyncio",  # `Acceptor` accepts sockets of this loop one by one
        proxy_headers=bool(section.trusted_proxies),
        forwarded_allow_ips=list(section.trusted_proxies),
        ssl_certfile=section.tls_certificate or None,
        ssl_keyfile=section.tls_key or None,
        access_log=False,
        server_header=False,
        log_config=None,
        ws="none",
        timeout_graceful_shutdown=GRACE_S,
    )


@contextlib.contextmanager
def listen(host: str, port: int, section: str) -> Iterator[socket.socket]:
    """Listen. Raises CabinetError that names the keys of `section` if the port cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CabinetError(
            f"port {port} of {host} cannot be had ({os.strerror(error.errno) if error.errno else error}): "
            f"stop what uses it, or change {section}.host or {section}.port"
        ) from error
    with listener:
        # Accepted connections inherit TCP_NODELAY. The event loop sets it only for sockets created with TCP as protocol
        # number; without it, every answer of two parts waits 40 ms for the client's delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        yield listener
