"""`fleet work`: the worker."""

import argparse
import asyncio
import datetime
import logging
import random
import signal
from collections.abc import Callable
from pathlib import Path

from cabinet import plain_text
from cabinet.clock import SystemClock
from cabinet.errors import StoreError
from cabinet.system.sd_notify import Notifier
from cabinet.uplink.messages import Certificate
from fleet import config as configuration
from fleet import enrolment
from fleet.config import FleetConfig
from fleet.order_keys import OrderKeys
from fleet.store.database import Connection, SchemaError
from fleet.trust import TrustFolder
from fleet.worker import Worker

log = logging.getLogger(__name__)

MAX_BACKOFF_S = 15.0


def configure(parser: argparse.ArgumentParser) -> None:
    configuration.add_config(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    parser.epilog = (
        "Takes in what cabinets send, sends orders, and ends what is overdue. Start two for availability: one works,\n"
        "the other waits for it (a lock in the database). A worker may be killed at any time: the next goes on from\n"
        "the rows. It waits for database and broker, and tries again when one of them is gone.\n\n"
        "examples:\n"
        "  fleet work\n"
        "  fleet work --config ./fleet.toml --verbose"
    )


def main(args: argparse.Namespace) -> int:
    plain_text.set_up_logging()
    if args.verbose:
        logging.getLogger("fleet").setLevel(logging.DEBUG)
    logging.getLogger("aiomqtt").setLevel(logging.WARNING)
    asyncio.run(_work(configuration.load(args.config)))
    return 0


async def _work(config: FleetConfig) -> None:
    """Run workers, one after the other, until SIGTERM or SIGINT."""
    trust = TrustFolder(Path(config.trust.folder))
    keys = OrderKeys(trust.signing_keys)
    clock = SystemClock()

    async def renew(connection: Connection, cabinet: str, csr_pem: str) -> Certificate:
        now = datetime.datetime.fromtimestamp(clock.wall().unix_ms / 1000, datetime.UTC)
        return await enrolment.renew(connection, trust, cabinet, csr_pem, now, config.trust.certificate_days)

    notifier = Notifier()
    task = asyncio.create_task(_again_and_again(lambda: Worker(config, keys, renew, notifier.ready)))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    Notifier().ready("works, or waits for database and broker or for the worker that does")
    try:
        await task
    except asyncio.CancelledError:
        log.info("stopped")
    finally:
        notifier.send("STOPPING=1")


async def _again_and_again(make: Callable[[], Worker]) -> None:
    """Run a worker, and another one when it lost the database. Raises SchemaError if that cannot help."""
    failures = 0
    while True:
        worker = make()
        try:
            await worker.run()
        except SchemaError:
            raise  # `fleet migrate` or an update is needed
        except StoreError as error:
            log.error("%s", error)
        failures = 0 if worker.working.is_set() else failures + 1
        await asyncio.sleep(random.uniform(0, min(MAX_BACKOFF_S, 2**failures)))
