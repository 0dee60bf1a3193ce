"""`fleet check`: find every mistake in fleet.toml, and problems of keys, database and broker."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from cabinet.config.reference import reference
from cabinet.errors import CabinetError
from cabinet.system.secret_files import check_private
from fleet import broker_connection
from fleet import config as configuration
from fleet.config import FleetConfig
from fleet.store import database
from fleet.trust import TrustFolder


def configure(parser: argparse.ArgumentParser) -> None:
    configuration.add_config(parser)
    parser.add_argument("--file-only", action="store_true", help="the file and the keys, without database and broker")
    parser.add_argument("--reference", action="store_true", help="print every key with default, bounds and reason")
    parser.epilog = (
        "A line for each problem, and exit status 1; nothing is changed.\n\n"
        "examples:\n"
        "  fleet check\n"
        "  fleet check --reference\n"
        "  fleet check --config ./fleet.toml --file-only"
    )


def main(args: argparse.Namespace) -> int:
    if args.reference:
        print(reference(FleetConfig, configuration.REFERENCE_HEAD), end="")
        return 0
    config = configuration.load(args.config)
    problems = list(_file_problems(config))
    if not args.file_only:
        problems += asyncio.run(_service_problems(config))
    print("\n".join(problems) or f"{args.config}: no problem found")
    return 1 if problems else 0


def _file_problems(config: FleetConfig) -> Iterator[str]:
    try:
        keys = TrustFolder(Path(config.trust.folder)).signing_keys()
        if len(keys) > 2:
            yield f"trust.folder: {len(keys)} keys for orders: a cabinet takes two at most"
    except CabinetError as error:
        yield f"trust.folder: {error}"
    secret = {
        "broker.key": config.broker.key,
        "web.tls_key": config.web.tls_key,
        "payments.key": config.payments.key,
    }
    for key, path in secret.items():
        try:
            if path:
                check_private(Path(path))
        except (CabinetError, OSError) as error:
            yield f"{key}: {error}"
    public = {
        "broker.ca": config.broker.ca,
        "broker.certificate": config.broker.certificate,
        "web.tls_certificate": config.web.tls_certificate,
    }
    for key, path in public.items():
        if path and not Path(path).is_file():
            yield f"{key}: {path} is not there"
    if not config.web.public_url.startswith("https://") and "127.0.0.1" not in config.web.public_url:
        yield "web.public_url: phones send PINs and codes to it: it must begin with https://"


async def _service_problems(config: FleetConfig) -> list[str]:
    return [problem async for problem in _checks(config)]


async def _checks(config: FleetConfig) -> AsyncIterator[str]:
    try:
        async with await database.connect(config.database.url) as connection:
            await database.check_version(connection)
    except CabinetError as error:
        yield f"database.url: {error}"
    try:
        await broker_connection.probe(config.broker)
    except CabinetError as error:
        yield f"broker: {error}"
