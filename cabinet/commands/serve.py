"""`cabinet serve`: run sessions, money, usage log and web pages, until SIGTERM. Charges continue in the guard."""

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

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
from cabinet.web import server

if TYPE_CHECKING:
    from cabinet.commands.playground import SimulatorClient

EXIT_RESTART = 75  # sysexits.h: a temporary failure


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
        server.listen(config.service.host, config.service.port, "service") as listener,
        _address_file(config, listener) as address,
    ):
        try:
            await service.open()

            def serving() -> None:
                notifier.ready(f"serving {address}")
                print(f"serving {address}", flush=True)

            app = create_app(service, config, _simulator(config))
            web = server.make_server(app, config.service, serving)
            _stop_on_signals(web, service)
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(service.run()), group.create_task(_feed_watchdog(notifier))]
                others.append(group.create_task(_stop_for_restart(web, service)))
                await web.serve(sockets=[listener])
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


def _stop_on_signals(server: uvicorn.Server, service: Service) -> None:
    def stop() -> None:
        server.should_exit = True
        service.context.changes.close()  # live pages would otherwise delay the stop for the whole GRACE_S

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


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
