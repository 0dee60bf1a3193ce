"""`fleet serve`: the web pages of residents and property companies, and the enrolment of cabinets, until SIGTERM.

Several processes may serve side by side, on several machines: nothing is kept in memory that the database lacks.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from cabinet import plain_text
from cabinet.system.sd_notify import Notifier, watchdog_interval_s
from cabinet.system.secret_files import check_private
from cabinet.web import server
from cabinet.web.connections import ConnectionLimits
from fleet import config as configuration
from fleet.config import FleetConfig
from fleet.store import database
from fleet.store.database import Pool
from fleet.web import health
from fleet.web.notices import CabinetNotices
from fleet.web.site import create_app
from fleet.web.sms import provider_of

LOOPBACK = "127.0.0.1"
MAX_CONNECTIONS = 4000  # of one process, below LimitNOFILE of its unit; a live page holds one
MAX_METRICS_REQUEST = 8192  # bytes
METRICS_TIMEOUT_S = 10.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Listens on web.host and web.port. Behind a proxy, name it in web.trusted_proxies.\n"
        "Figures for Prometheus: http://127.0.0.1:PORT/metrics, with web.metrics_port.\n\n"
        "examples:\n  fleet serve --config /etc/cabinet-fleet/fleet.toml"
    )
    configuration.add_config(parser)


def main(args: argparse.Namespace) -> int:
    config = configuration.load(args.config)
    plain_text.set_up_logging()
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    asyncio.run(serve(config))
    return 0


async def serve(config: FleetConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises CabinetError if the port or the database is not available."""
    web = config.web
    if web.tls_key:
        check_private(Path(web.tls_key))
    notifier, notices, sms = Notifier(), CabinetNotices(config.database.url), provider_of(config.sms)
    scheme = "https" if web.tls_certificate else "http"
    async with database.pool(config.database.url, config.database.pool_size) as pool:
        with server.listen(web.host, web.port, "web") as listener:
            host, port = listener.getsockname()[:2]
            address = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

            def serving() -> None:
                notifier.ready(f"serving {address}")
                print(f"serving {address}", flush=True)

            limits = ConnectionLimits(MAX_CONNECTIONS, web.connections_per_address)
            doors = server.make_server(create_app(pool, config, notices, sms), web, serving, limits)

            def stop() -> None:
                doors.should_exit = True
                notices.close()

            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop)
            async with asyncio.TaskGroup() as group, metrics_server(pool, web.metrics_port):
                others = [group.create_task(notices.run()), group.create_task(_feed_watchdog(notifier))]
                await doors.serve(sockets=[listener])
                notifier.send("STOPPING=1")
                await database.end_listeners(others)


@contextlib.asynccontextmanager
async def metrics_server(pool: Pool, port: int) -> AsyncIterator[int]:
    """Serve `/metrics` on the loopback address for the block; yield the port. With port 0, serve nothing."""
    if not port:
        yield 0
        return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(METRICS_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                found = head.startswith((b"GET /metrics ", b"GET /metrics?"))
                body = (await health.metrics(pool)).encode() if found else b"only /metrics is here\n"
                status = b"200 OK" if found else b"404 Not Found"
                writer.write(
                    b"HTTP/1.1 %b\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                    b"Content-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body
                )
                await writer.drain()
        writer.close()

    listening = await asyncio.start_server(answer, LOOPBACK, port, limit=MAX_METRICS_REQUEST)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def _feed_watchdog(notifier: Notifier) -> None:
    """Feed the watchdog from the event loop: if the loop hangs, the watchdog is not fed."""
    interval_s = watchdog_interval_s()
    while interval_s is not None:
        notifier.alive()
        await asyncio.sleep(interval_s)
