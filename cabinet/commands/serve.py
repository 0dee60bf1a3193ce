"""`cabinet serve`: run sessions, money, usage log and web pages, until SIGTERM. Charges continue in the guard."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from litestar.types import ASGIApp

from cabinet import config as configuration
from cabinet import plain_text
from cabinet.clock import SystemClock
from cabinet.commands.options import add_config
from cabinet.config import Config
from cabinet.errors import CabinetError, os_error_at
from cabinet.service.accounts import admin
from cabinet.service.app import Service
from cabinet.store import backup
from cabinet.system import run_folder
from cabinet.system.atomic_file import write_file
from cabinet.system.sd_notify import Notifier, watchdog_interval_s
from cabinet.system.secret_files import check_private
from cabinet.web.address import Networks
from cabinet.web.connections import Acceptor, ConnectionLimits, Seat, SeatedProtocol, Seats
from cabinet.web.gate import Gate, GateLimits
from cabinet.web.source_log import SourceLog

if TYPE_CHECKING:
    from cabinet.commands.playground import SimulatorClient

BACKLOG = 1024  # the kernel's queue, for a burst; a client that is not in it retries after 1 s
SEND_BUFFER_BYTES = 128 * 1024  # per connection; the kernel doubles it: a stalled reader holds no more
EXIT_RESTART = 75  # sysexits.h: a temporary failure
GRACE_S = 3  # for requests in progress when the service is stopped


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Listens on service.host and service.port; with port 0 on any free one. The address is in\n"
        "RUN/service/service.url.\n\n"
        "examples:\n  cabinet serve --config /etc/cabinet/cabinet.toml"
    )
    add_config(parser)


def main(args: argparse.Namespace) -> int:
    config = configuration.load(args.config)
    plain_text.set_up_logging()
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return asyncio.run(serve(config))


async def serve(config: Config) -> int:
    """Serve until SIGTERM or SIGINT. Return the exit status: not 0 if the service must be started again.

    Raises CabinetError if the port or the database is not available.
    """
    from cabinet.web.site import create_app

    check_secrets(config)
    notifier = Notifier()
    service = Service(config)
    with (
        backup.exclusive_lock(admin.database_path(config)),
        _listen(config) as listener,
        _address_file(config, listener) as address,
    ):
        try:
            await service.open()

            def serving() -> None:
                notifier.ready(f"serving {address}")
                print(f"serving {address}", flush=True)

            server = make_server(create_app(service, config, _simulator(config)), config, serving)
            _stop_on_signals(server, service)
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(service.run()), group.create_task(_feed_watchdog(notifier))]
                others.append(group.create_task(_stop_for_restart(server, service)))
                await server.serve(sockets=[listener])
                notifier.send("STOPPING=1")
                for other in others:
                    other.cancel()
        finally:
            await service.close()
    return EXIT_RESTART if service.housekeeping.restart_wanted.is_set() else 0


async def _stop_for_restart(server: uvicorn.Server, service: Service) -> None:
    await service.housekeeping.restart_wanted.wait()
    server.should_exit = True
    service.context.changes.close()


def check_secrets(config: Config) -> None:
    """Check the secrets. Raises CabinetError if others may read a secret, or if certificate and key do not match."""
    service = config.service
    check_private(admin.key_path(config))
    if not service.tls_certificate:
        return
    check_private(Path(service.tls_key))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            service.tls_certificate, service.tls_key, _no_passphrase
        )
    except ssl.SSLError as error:
        raise CabinetError(
            f"service.tls_certificate and service.tls_key: no certificate and key that go together ({error.reason})"
        ) from error
    except OSError as error:
        raise CabinetError(f"service.tls_certificate or service.tls_key: {error.strerror}") from error


def _simulator(config: Config) -> "SimulatorClient | None":
    """Return the simulator for the page /sim, or None; a cabinet with real hardware has neither."""
    if not config.simulated:
        return None
    from cabinet.commands.playground import SimulatorClient

    return SimulatorClient(config, SystemClock())


def _no_passphrase() -> str:
    """Refuse a key with a passphrase: there is no one to type it. Raises CabinetError."""
    raise CabinetError("service.tls_key: is protected with a passphrase; give one without")


class _Server(uvicorn.Server):
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
    config: Config,
    serving: Callable[[], None] = lambda: None,
    limits: ConnectionLimits | None = None,
) -> uvicorn.Server:
    """Return the web server over `app`; run it with `serve(sockets=[…])`."""
    service = config.service
    limits = limits or ConnectionLimits(max_of_source=service.connections_per_address)
    gated = Gate(app, GateLimits(max_of_source=limits.max_of_source))
    seats = Seats(limits, Networks(service.trusted_proxies))
    return _Server(server_config(gated, config), seats, SourceLog(SystemClock()), serving)


def server_config(app: object, config: Config) -> uvicorn.Config:
    """Return uvicorn's configuration; only the proxies in our configuration may set the client address of a request."""
    service = config.service
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # any ASGI application; Litestar's own type is narrower
        http=SeatedProtocol,
        loop="asyncio",  # `Acceptor` accepts sockets of this loop one by one
        proxy_headers=bool(service.trusted_proxies),
        forwarded_allow_ips=list(service.trusted_proxies),
        ssl_certfile=service.tls_certificate or None,
        ssl_keyfile=service.tls_key or None,
        access_log=False,
        server_header=False,
        log_config=None,
        ws="none",
        timeout_graceful_shutdown=GRACE_S,
    )


def _stop_on_signals(server: uvicorn.Server, service: Service) -> None:
    def stop() -> None:
        server.should_exit = True
        service.context.changes.close()  # live pages would otherwise delay the stop for the whole GRACE_S

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


@contextlib.contextmanager
def _listen(config: Config) -> Iterator[socket.socket]:
    host, port = config.service.host, config.service.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CabinetError(
            f"port {port} of {host} cannot be had ({os.strerror(error.errno) if error.errno else error}): "
            "stop what uses it, or change service.host or service.port"
        ) from error
    with listener:
        # Accepted connections inherit TCP_NODELAY. The event loop sets it only for sockets created with TCP as protocol
        # number; without it, every answer of two parts waits 40 ms for the client's delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        yield listener


@contextlib.contextmanager
def _address_file(config: Config, listener: socket.socket) -> Iterator[str]:
    """Keep the local address of the service in RUN/service/service.url while the service listens."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "https" if config.service.tls_certificate else "http"
    address = f"{scheme}://[{shown}]:{port}" if ":" in shown else f"{scheme}://{shown}:{port}"
    path = run_folder.service_address(Path(config.paths.run))
    with os_error_at(path, ": check paths.run"):
        write_file(path, f"{address}\n".encode(), synced=False)
    try:
        yield address
    finally:
        path.unlink(missing_ok=True)


async def _feed_watchdog(notifier: Notifier) -> None:
    """Feed the watchdog from the event loop: if the loop hangs, the watchdog is not fed."""
    interval_s = watchdog_interval_s()
    while interval_s is not None:
        notifier.alive()
        await asyncio.sleep(interval_s)
