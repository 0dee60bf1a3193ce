"""`cabinet uplink`: keep the connection to a fleet, until SIGTERM; enrol this cabinet there; show the state."""

import argparse
import asyncio
import contextlib
import datetime
import signal
from pathlib import Path

from cabinet import config as configuration
from cabinet import plain_text
from cabinet.clock import NS, SystemClock
from cabinet.commands.options import add_action, add_config
from cabinet.config import Config
from cabinet.errors import CabinetError
from cabinet.link import uplink_protocol
from cabinet.system.sd_notify import Notifier, watchdog_interval_s
from cabinet.texts import Texts
from cabinet.uplink import enrolment
from cabinet.uplink.enrolment import EnrolmentFiles
from cabinet.uplink.problems import UplinkProblem, code_of


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Without an action it runs, as cabinet-uplink.service does. The console has the same: uplink, uplink enrol.\n"
        "On an installed cabinet the files are the uplink's: put before each: sudo -u cabinet-uplink\n\n"
        "examples:\n"
        "  cabinet uplink status\n"
        "  cabinet uplink enrol ABCD-EFGH-JKLM-NPQR --fleet https://charge.example.org\n"
        "  cabinet uplink enrol ABCD-EFGH-JKLM-NPQR --fleet https://10.0.0.5 --ca fleet-ca.pem"
    )
    add_config(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    enrol = add_action(actions, "enrol", "enrol this cabinet at a fleet, with a code that is good once")
    enrol.add_argument("code", metavar="CODE", help="from `fleet cabinet add` or `fleet cabinet code`")
    enrol.add_argument("--fleet", metavar="URL", help="address of the fleet (default: uplink.fleet_url)")
    enrol.add_argument(
        "--ca", type=Path, metavar="FILE", help="the only authority to trust for it (default: uplink.fleet_ca)"
    )
    add_action(actions, "status", "state of the connection, its last error, end of the certificate")
    add_action(actions, "enabled", "exit status 0 if this cabinet has an uplink (uplink.enabled)")


def main(args: argparse.Namespace) -> int:
    config = configuration.load(args.config)
    if args.action == "enabled":
        return 0 if config.uplink.enabled else 1
    if args.action == "status":
        return _show_status(config)
    if args.action == "enrol":
        return _enrol(config, args)
    if not config.uplink.enabled:
        raise CabinetError("uplink.enabled is false: this cabinet has no uplink")
    plain_text.set_up_logging()
    return asyncio.run(_run(config))


def _enrol(config: Config, args: argparse.Namespace) -> int:
    ca = args.ca or (Path(config.uplink.fleet_ca) if config.uplink.fleet_ca else None)
    files = EnrolmentFiles(Path(config.paths.state))
    try:
        place = enrolment.enrol(
            files,
            args.fleet or config.uplink.fleet_url,
            args.code,
            config.site.site_id,
            ca=ca,
            trusted_time=SystemClock().wall().trusted,
        )
    except UplinkProblem as problem:
        raise CabinetError(_with_remedy(str(problem))) from problem
    print(f"enrolled as {place.cabinet}; broker {place.host}:{place.port}, certificate until {_day(files)}")
    if not config.uplink.enabled:
        print("set uplink.enabled = true and restart cabinet-service and cabinet-uplink")
    return 0


def _show_status(config: Config) -> int:
    """Return 0 if the cabinet is connected."""
    files = EnrolmentFiles(Path(config.paths.state))
    place = files.place()
    if place is None:
        print("not enrolled: cabinet uplink enrol CODE")
    else:
        print(f"cabinet      {place.cabinet}\nbroker       {place.host}:{place.port}")
        with contextlib.suppress(UplinkProblem):
            print(f"certificate  until {_day(files)}")
    now_ns = SystemClock().monotonic_ns()
    status = uplink_protocol.read_status(uplink_protocol.status_file(Path(config.paths.run)), now_ns)
    if status is None:
        print("state        not running" + ("" if config.uplink.enabled else ": uplink.enabled is false"))
        return 1
    print(f"state        {status.state} for {datetime.timedelta(seconds=(now_ns - status.since_ns) // NS)}")
    if status.error:
        print(f"last error   {_with_remedy(status.error)}")
    return 0 if status.state == "connected" else 1


def _with_remedy(error: str) -> str:
    code = code_of(error)
    return error if code is None else f"{error}\n{Texts('console_see', 'en')(f'uplink_error.{code}')}"


def _day(files: EnrolmentFiles) -> str:
    return datetime.datetime.fromtimestamp(files.life().not_after_s, datetime.UTC).date().isoformat()


async def _run(config: Config) -> int:
    # Here: the other actions need none of the libraries.
    from cabinet.uplink.service_client import ServiceSocket
    from cabinet.uplink.uplink import Uplink, UplinkSettings

    run = Path(config.paths.run)
    settings = UplinkSettings(
        Path(config.paths.state), run, config.site.site_id, config.uplink.fleet_url, config.uplink.fleet_ca
    )
    uplink = Uplink(settings, ServiceSocket(uplink_protocol.path_in(run)), SystemClock())
    work = asyncio.ensure_future(uplink.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    notifier = Notifier()
    notifier.ready("link to the fleet")
    watchdog = asyncio.ensure_future(_feed_watchdog(notifier))
    with contextlib.suppress(asyncio.CancelledError):
        await work
    watchdog.cancel()
    notifier.send("STOPPING=1")
    return 0


async def _feed_watchdog(notifier: Notifier) -> None:
    """Feed the watchdog from the event loop: if the loop hangs, the watchdog is not fed."""
    interval_s = watchdog_interval_s()
    while interval_s is not None:
        notifier.alive()
        await asyncio.sleep(interval_s)
