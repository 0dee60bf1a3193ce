"""A whole fleet of real processes on loopback: PostgreSQL, broker, worker, web, and simulated cabinets that dial out.

Everything is set up with the commands that docs/fleet.md names. The web runs twice, as it may: in http for browsers,
and in https, with a certificate of the fleet's own authority, for the enrolment of cabinets.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cabinet_testing import fleet_broker, fleet_postgres
from cabinet_testing.fault_proxy import FaultProxy
from cabinet_testing.fleet_broker import FleetBroker
from cabinet_testing.fleet_postgres import FleetPostgres
from cabinet_testing.real_cabinet import Process, RealCabinet, wait_for

COMPANY = "Green Court"
SITE = "East gate"
PHONE = "13800000001"
CARD, PIN = "66001", "135790"
STAFF = "demo"

_CODE = re.compile(r'^code = "([A-Z])(\w+)"$', re.MULTILINE)
_ENROLMENT_CODE = re.compile(r"\b[0-9A-Z]{4}(?:-[0-9A-Z]{4})+\b")


def missing() -> str | None:
    """Return the reason if no fleet can run here, else None."""
    return fleet_postgres.missing() or fleet_broker.SKIP_REASON or None


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder with a short path that PostgreSQL's user may enter, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="fleet-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def payments_section(port: int) -> str:
    """Return the section of fleet.toml for the simulated platforms at a port."""
    address = f"http://{fleet_broker.HOST}:{port}"
    keys = {
        "wechat_url": address,
        "wechat_login_url": f"{address}/connect/oauth2/authorize",
        "wechat_identity_url": f"{address}/sns/oauth2/access_token",
        "alipay_url": f"{address}/gateway.do",
        "alipay_login_url": f"{address}/oauth2/publicAppAuthorize.htm",
    }
    return "[payments]\n" + "".join(f'{name} = "{value}"\n' for name, value in keys.items()) + "\n"


def outlet_codes(text: str, cabinet: int) -> str:
    """Return a configuration with this cabinet's outlet codes: its number follows the letter. Pure."""
    return _CODE.sub(lambda found: f'code = "{found[1]}{cabinet}{found[2][1:]}"', text)


class FleetCabinet(RealCabinet):
    """A whole simulated cabinet with an uplink."""

    def __init__(self, folder: Path, number: int, fleet_url: str, fleet_ca: Path, *, demo: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = f"demo-{number}"
        changes = {'site_id = "DEMO-1"': f'site_id = "DEMO-{number}"'}
        super().__init__(folder, changes, demo=demo)
        text = outlet_codes(self.config.read_text(encoding="utf-8"), number)
        text += f'\n[uplink]\nenabled = true\nfleet_url = "{fleet_url}"\nfleet_ca = "{fleet_ca}"\n'
        self.config.write_text(text, encoding="utf-8")

    @property
    def enrolled(self) -> bool:
        return (self.state / "uplink" / "enrolment.json").exists()

    def enrol(self, code: str) -> None:
        self.command("uplink", "enrol", code)

    def start_uplink(self) -> None:
        self.processes["uplink"] = Process("uplink", ["uplink"], self.folder, self.config, prefix=self.prefix)

    def put_link(self, port: int, seed: int = 0) -> FaultProxy:
        """Put a link that can fail between the enrolled uplink and the broker at `port`; return it."""
        link = FaultProxy(fleet_broker.HOST, port, seed)
        link.start()
        file = self.state / "uplink" / "enrolment.json"
        place = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({**place, "port": link.port}), encoding="utf-8")
        self.processes.pop("uplink").stop()
        self.start_uplink()
        return link

    def code(self, outlet: int) -> str:
        """Return the code printed at an outlet."""
        found = re.findall(r'^code = "(\w+)"$', self.config.read_text(encoding="utf-8"), re.MULTILINE)
        return str(found[outlet - 1])


class CabinetNetwork:
    """A network namespace for a cabinet: it reaches the fleet's ports at `HOST`, and nothing reaches the cabinet.

    Its connections go out over a pair of virtual interfaces, to a forwarder at this end. Needs root.
    """

    HOST, INSIDE = "10.231.77.1", "10.231.77.2"

    def __init__(self) -> None:
        self.name = f"cabinet-{os.getpid()}"
        self.prefix = ("ip", "netns", "exec", self.name)
        self._outer = f"vc{os.getpid()}"
        self._forwarders: list[FaultProxy] = []

    @staticmethod
    def missing() -> str | None:
        """Return the reason if no namespace can be made, else None."""
        if os.geteuid() != 0 or shutil.which("ip") is None:
            return "a network namespace needs root, and the command ip"
        return None

    def make(self) -> None:
        _ip("netns", "add", self.name)
        _ip("link", "add", self._outer, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("addr", "add", f"{self.HOST}/30", "dev", self._outer)
        _ip("link", "set", self._outer, "up")
        _ip("-n", self.name, "addr", "add", f"{self.INSIDE}/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", self.name, "link", "set", device, "up")

    def let_out(self, *ports: int) -> None:
        """Let the cabinet reach these ports of the fleet."""
        for port in ports:
            forwarder = FaultProxy(fleet_broker.HOST, port, listen=(self.HOST, port))
            forwarder.start()
            self._forwarders.append(forwarder)

    def remove(self) -> None:
        for forwarder in self._forwarders:
            forwarder.stop()
        _ip("netns", "del", self.name)  # its interfaces go with it


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


class FleetSite:
    """The fleet's processes in a folder. What is there already goes on: database, keys, enrolments."""

    def __init__(
        self,
        folder: Path,
        *,
        safe: bool = True,
        port: int = 0,
        ports: tuple[int, int, int] | None = None,
        host: str = fleet_broker.HOST,
        payments_port: int = 0,
    ) -> None:
        """Prepare. `port` is that of the pages, `ports` are those of enrolment, broker and worker (None: free ones);
        `host` is where cabinets reach the fleet; `payments_port` is that of the simulated payment platforms (0: none).
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.config = folder / "fleet.toml"
        database = folder / "postgres"
        database.mkdir(exist_ok=True)
        self.postgres = FleetPostgres(database, safe=safe)
        self._new = not (database / "data").exists()
        enrol_port, *broker_ports = ports or fleet_broker.free_ports(3)
        self._host = host
        self.broker = FleetBroker(folder, ports=(broker_ports[0], broker_ports[1]), names=(host,))
        self._port, self._enrol_port = port, enrol_port
        self.payments_port = payments_port
        self.enrol_url = f"https://{host}:{enrol_port}"
        self.ca = self.broker.trust.ca_certificate
        self.sms = folder / "sms.txt"
        self.processes: dict[str, Process] = {}
        self.cabinets: list[FleetCabinet] = []
        self.url = ""

    def start(self) -> None:
        """Start database, broker, worker and web."""
        self.postgres.create_empty() if self._new else self.postgres.start()
        self.broker.start()
        trust = self.broker.trust
        text = f"""\
[database]
url = "{self.postgres.url("fleet")}"

[broker]
host = "{fleet_broker.HOST}"
port = {self.broker.fleet_port}
public_host = "{self._host}"
public_port = {self.broker.port}
folder = "broker"

[trust]
folder = "trust"

[sms]
provider = "file"
file = "{self.sms}"

"""
        pages = f'[web]\npublic_url = "http://{fleet_broker.HOST}:{self._port or 8090}"\nport = {self._port}\n'
        if self.payments_port:
            text += payments_section(self.payments_port)
        self.config.write_text(text + pages, encoding="utf-8")
        tls = f'port = {self._enrol_port}\ntls_certificate = "{trust.broker_certificate}"\n'
        tls += f'tls_key = "{trust.broker_key}"\n'
        self._enrol_config.write_text(f'{text}[web]\npublic_url = "{self.enrol_url}"\n{tls}', encoding="utf-8")
        if self._new:
            self.postgres.make("fleet")
        self.command("migrate")
        if self.payments_port:
            words = ["--port", str(self.payments_port), "--folder", str(self.folder)]
            self.processes["payments"] = Process("payments", words, self.folder, self.config, "fleet.sim.payments")
        self.start_process("worker")
        self.start_process("enrolment")
        self.start_process("web")
        self.url = self._address()

    @property
    def cabinet_ports(self) -> tuple[int, int]:
        """Return the ports that cabinets use: enrolment and broker."""
        return self._enrol_port, self.broker.port

    @property
    def _enrol_config(self) -> Path:
        return self.folder / "enrolment.toml"

    def start_process(self, name: str) -> None:
        """Start worker, web or enrolment; return when it is ready."""
        word = "work" if name.startswith("worker") else "serve"
        config = self._enrol_config if name == "enrolment" else self.config
        self.processes[name] = Process(name, [word], self.folder, config, "fleet.main")
        if name == "web":
            self.url = self._address()

    def _address(self) -> str:
        log = lambda: re.findall(r"^serving (https?://\S+)$", self.processes["web"].log, re.MULTILINE)  # noqa: E731
        return str(wait_for("the web's address", log)[-1])

    def command(self, *words: str, fails: bool = False) -> str:
        """Run a `fleet` command. Return its output; it must succeed, or fail if `fails` is set."""
        done = subprocess.run(
            [sys.executable, "-m", "fleet.main", *words, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def add_company(self, tariff: str) -> str:
        """Add the company with a site, a tariff, a resident with money, and a login; return its password."""
        self.command("company", "add", COMPANY)
        self.command("company", "site", COMPANY, "--site", SITE)
        file = self.folder / "tariff.toml"
        file.write_text(tariff, encoding="utf-8")
        self.command("resident", "add", "--company", COMPANY, "--phone", PHONE, "--card", CARD, "--pin", PIN)
        self.command("resident", "top-up", "--company", COMPANY, "--phone", PHONE, "5000")
        return self.command("staff", "add", STAFF, "--company", COMPANY, "--role", "operator").split()[-1]

    def connect_payments(self) -> None:
        """Connect the company's accounts at the simulated platforms, whose keys are new each time."""
        for platform in ("wechat", "alipay"):
            file = str(self.folder / f"{platform}.json")
            self.command("merchant", "add", file, "--platform", platform, "--company", COMPANY)

    def add_cabinet(self, number: int, network: "CabinetNetwork | None" = None, *, demo: bool = False) -> FleetCabinet:
        """Add a cabinet, start it, enrol it, and start its uplink; in a network of its own if one is given."""
        cabinet = FleetCabinet(self.folder / f"cabinet-{number}", number, self.enrol_url, self.ca, demo=demo)
        if network is not None:
            cabinet.prefix = network.prefix
        self.cabinets.append(cabinet)
        cabinet.start("sim", "guard", "service")
        if not cabinet.enrolled:
            added = self.command("cabinet", "add", cabinet.name, "--company", COMPANY, "--site", SITE)
            found = _ENROLMENT_CODE.search(added)
            assert found, added
            cabinet.enrol(found[0])
            self.command("tariff", "roll-out", str(self.folder / "tariff.toml"), "--company", COMPANY)
        cabinet.start_uplink()
        return cabinet

    def stop(self) -> None:
        """Stop everything that runs; the data stay."""
        for cabinet in reversed(self.cabinets):
            cabinet.stop()
        for name in reversed(self.processes):
            self.processes[name].stop()
        self.broker.stop()
        self.postgres.stop()
