"""A fleet to try on one machine: `make fleet`. PostgreSQL, broker, worker, web, three simulated cabinets
and simulated payment platforms, where one pays in a second.

    python -m cabinet_testing.fleet_demo [--cabinets 3] [--folder var/fleet] [--port 8090]

Everything is in one folder and goes on there the next time. Ctrl-C stops everything.
"""

import argparse
import signal
import sys
from pathlib import Path

from cabinet.system.run_folder import service_address
from cabinet_testing import fleet_site
from cabinet_testing.fleet_scene import TARIFF
from cabinet_testing.fleet_site import CARD, PHONE, PIN, STAFF, FleetSite

PORTS = (8443, 8883, 8884)  # enrolment, broker, and the broker's listener for the worker
PAYMENTS_PORT = 8095
PASSWORD_FILE = "staff-password.txt"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("var/fleet"), help="(default: var/fleet)")
    parser.add_argument("--cabinets", type=int, default=3, metavar="N", help="(default: 3)")
    parser.add_argument("--port", type=int, default=8090, metavar="N", help="of the pages (default: 8090)")
    args = parser.parse_args()
    if reason := fleet_site.missing():
        print(f"{reason}; as root, make fleet installs it: apt install postgresql mosquitto", file=sys.stderr)
        return 1
    site = FleetSite(args.folder.absolute(), port=args.port, ports=PORTS, payments_port=PAYMENTS_PORT)
    try:
        say("database, broker, worker and web")
        site.start()
        password = _company(site)
        site.connect_payments()
        for number in range(1, args.cabinets + 1):
            say(f"cabinet {number} of {args.cabinets}")
            site.add_cabinet(number, demo=True)
        for line in banner(site, password):
            print(line, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    except KeyboardInterrupt:
        print()
    finally:
        say("stopping")
        site.stop()
    return 0


def _company(site: FleetSite) -> str:
    """Return the password of the property company's login; the company is added the first time."""
    file = site.folder / PASSWORD_FILE
    if not file.exists():
        password = site.add_company(TARIFF)
        file.write_text(password, encoding="utf-8")
        file.chmod(0o600)
    return file.read_text(encoding="utf-8")


def banner(site: FleetSite, password: str) -> list[str]:
    """Return the addresses, and first things to try."""
    first = site.cabinets[0] if site.cabinets else None
    here = _short(Path(sys.executable).parent)
    rows = [("resident", f"{site.url}/q/{first.code(3)}   (outlet 3 of {first.name})" if first else site.url)]
    rows += [
        ("", f"phone {PHONE}: the code by SMS is the last line of {_short(site.sms)}"),
        ("", f"or card {CARD}, PIN {PIN}; or pay for a charge, without any account: the platforms are simulated"),
        ("property", f"{site.url}/property   name {STAFF}, password {password}"),
        ("commands", f"{here}/fleet cabinet list --config {_short(site.config)}"),
    ]
    if first is not None:
        config = _short(first.config)
        rows += [
            ("plug a bike", f"{here}/cabinet sim plug 3 demo --config {config}"),
            ("a short", f"{here}/cabinet sim fault 3 short --amps 60 --config {config}"),
            ("its own page", f"{_address(first.run)}/   (as on the cabinet's network)"),
        ]
    head = f"A fleet with {len(site.cabinets)} simulated cabinets, in {_short(site.folder)}. Ctrl-C stops everything."
    return ["", head, "", *(f"  {label:<12} {text}" for label, text in rows), ""]


def _address(run: Path) -> str:
    return service_address(run).read_text(encoding="utf-8").strip()


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def say(what: str) -> None:
    print(f"fleet: {what}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
