"""`fleet broker`: make the fleet's keys and certificates, and write the broker's folder; rotate the keys of orders."""

import argparse
import asyncio
import datetime
from pathlib import Path

from cabinet.clock import SystemClock
from cabinet.errors import CabinetError
from fleet import config as configuration
from fleet import order_keys
from fleet.broker import BrokerFolder
from fleet.config import FleetConfig
from fleet.store import database
from fleet.trust import TrustFolder, public_key


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "`config` makes what is missing in trust.folder (authority, certificates, a key for orders) and keeps the\n"
        "rest; the broker's folder is written whole each time. Back trust.folder up: without it every cabinet has to\n"
        "be enrolled again. The package's cabinet-fleet-broker.service runs the broker with it, and\n"
        "cabinet-fleet-crl.path has it read each new revocation list; elsewhere: mosquitto -c FOLDER/mosquitto.conf\n"
        "On an installed fleet put before each: sudo -u cabinet-fleet\n\n"
        "Keys for orders: make a second one, wait until all cabinets have it, then retire the first.\n\n"
        "examples:\n"
        "  fleet broker config\n"
        "  fleet broker config --folder /etc/mosquitto/fleet --host broker.example.org --host 203.0.113.7\n"
        "  fleet broker keys\n"
        "  fleet broker new-key\n"
        "  fleet broker retire-key 1a2b3c4d"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    config = _action(actions, "config", "write the broker's configuration, rights and certificates")
    config.add_argument("--folder", type=Path, metavar="FOLDER", help="(default: broker.folder)")
    config.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name or address of the broker, for its certificate (default: those in fleet.toml); repeatable",
    )
    config.add_argument("--new-certificate", action="store_true", help="replace the broker's key and certificate")
    _action(actions, "keys", "list the keys that sign orders, oldest first")
    _action(actions, "new-key", "make one more key for orders; two at most")
    retire = _action(actions, "retire-key", "delete a key for orders: what it signed is refused from then on")
    retire.add_argument("key", metavar="KEY", help="its id, from `fleet broker keys`")
    retire.add_argument("--force", action="store_true", help="also if a cabinet has no other key")


def _action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str
) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=summary, description=summary)
    configuration.add_config(action)
    return action


def main(args: argparse.Namespace) -> int:
    config = configuration.load(args.config)
    trust = TrustFolder(Path(config.trust.folder))
    if args.action == "config":
        _write(config, trust, args)
    elif args.action == "new-key":
        print(trust.add_order_key())
    elif args.action == "retire-key":
        if not args.force:
            asyncio.run(_check_others(config.database.url, trust, args.key))
        trust.retire_order_key(args.key)
    else:
        for key in trust.signing_keys():
            print(public_key(key).key_id, public_key(key).public)
    return 0


def _write(config: FleetConfig, trust: TrustFolder, args: argparse.Namespace) -> None:
    broker = config.broker
    # The fleet's own processes verify the name too: without `broker.host` the worker could not connect.
    hosts = list(dict.fromkeys([*(args.host or [broker.public_host]), broker.host]))
    now = datetime.datetime.fromtimestamp(SystemClock().wall().unix_ms / 1000, datetime.UTC)
    trust.make(hosts, now)
    if args.new_certificate:
        trust.make_broker_certificate(hosts, now)
    folder = BrokerFolder(args.folder or Path(broker.folder))
    folder.write(trust, port=broker.public_port, fleet_host=_listen_address(broker.host), fleet_port=broker.port)
    print(f"mosquitto -c {folder.configuration}")


async def _check_others(url: str, trust: TrustFolder, key_id: str) -> None:
    """Raise CabinetError if a cabinet trusts none of the keys that stay."""
    async with await database.connect(url) as connection:
        for key in trust.public_keys():
            if key.key_id != key_id:
                cabinets = await order_keys.that_do_not_trust(connection, key.key_id)
                if cabinets:
                    raise CabinetError(
                        f"{len(cabinets)} cabinets do not have key {key.key_id} yet, such as {cabinets[0]}: "
                        "with --force they have to be enrolled again"
                    )


def _listen_address(host: str) -> str:
    """Return the address of the fleet's own listener: loopback, unless its processes reach it by another address."""
    if host in ("localhost", "127.0.0.1", "::1"):
        return "127.0.0.1" if host == "localhost" else host
    if not host:
        raise CabinetError("broker.host is empty")
    return "0.0.0.0"
