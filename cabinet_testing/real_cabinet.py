"""A whole cabinet of real processes for the end-to-end tests: simulator, keeper and guard, service, console.

Everything is waited for by an event: a readiness notice, a state that is asked for until it is there, a journal
entry of the simulator. The deadlines here only keep a broken build from hanging.
"""

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import httpx

from cabinet.clock import SystemClock
from cabinet.config import load
from cabinet.errors import LinkError
from cabinet.link.client import BlockingGuard
from cabinet.link.guard_protocol import Role
from cabinet.model import OutletState, Snapshot
from cabinet.service.accounts import admin, wallets
from cabinet.sim.control import SimControl
from cabinet.system.run_folder import guard_socket, service_address

READY_WITHIN_S = 90.0
POLL_S = 0.02

# A charge is over in seconds here; everything else is as on a real cabinet.
QUICK = {
    "full_hold_s = 20.0 # a real cabinet waits half an hour; nobody watches a demo for so long": "full_hold_s = 2.0",
    "unplugged_hold_s = 10.0": "unplugged_hold_s = 1.5\nno_load_s = 8.0",
}


COMMANDS = {"sim": ["sim", "serve"], "guard": ["guard"], "service": ["serve"], "console": ["console"]}


def _die_with_parent() -> None:
    """End with the parent (prctl(2), PR_SET_PDEATHSIG): a killed test run must not leave a cabinet behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _real_time() -> None:
    """Run before everything ordinary, if permitted: on a busy machine a gentle guard would not be let in for 200 ms."""
    _die_with_parent()
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


class Process:
    """One process of the cabinet, with its readiness notice and its output in a file."""

    def __init__(
        self,
        name: str,
        words: list[str],
        folder: Path,
        config: Path,
        module: str = "cabinet.main",
        prefix: Sequence[str] = (),
        *,
        real_time: bool = False,
    ) -> None:
        """Start it, behind the command `prefix` if there is one; return when it is ready."""
        self.name = name
        self._log_path = folder / f"{name}.log"
        address = folder / f"{name}.notify"
        address.unlink(missing_ok=True)
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.bind(str(address))
        environment = {**os.environ, "NOTIFY_SOCKET": str(address), "PYTHONUNBUFFERED": "1"}
        environment.pop("WATCHDOG_USEC", None)
        with self._log_path.open("ab") as log:
            self.popen = subprocess.Popen(
                [*prefix, sys.executable, "-m", module, *words, "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                preexec_fn=_real_time if real_time else _die_with_parent,
            )
        try:
            self._wait_ready()
        except BaseException:
            self.kill()
            raise

    @property
    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if select.select([self._notices], [], [], POLL_S)[0] and b"READY=1" in self._notices.recv(4096):
                return
            if self.popen.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.popen.returncode}:\n{self.log}")
        raise AssertionError(f"{self.name} was not ready in {READY_WITHIN_S} s:\n{self.log}")

    def kill(self) -> None:
        """Send SIGKILL, as a power cut or a bug would."""
        self.popen.kill()
        self.popen.wait()
        self._notices.close()

    def stop(self) -> int:
        """Send SIGTERM. Return the exit status."""
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            return self.popen.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(self.popen.pid, signal.SIGKILL)
            raise
        finally:
            self._notices.close()


class RealCabinet:
    """Processes of one cabinet in a folder of its own, with the actions of people."""

    def __init__(
        self, folder: Path, changes: dict[str, str] | None = None, *, gentle: bool = False, demo: bool = False
    ) -> None:
        """Write the configuration.

        If `gentle`, simulator and guard take a fraction of the processor's time, as with `cabinet run`: for tests that
        measure no reaction time. With `demo`, it is gentle and for a person who tries it: nothing is hurried.
        """
        mode = ["--demo"] if gentle or demo else []
        self._commands = {**COMMANDS, "sim": [*COMMANDS["sim"], *mode], "guard": [*COMMANDS["guard"], *mode]}
        self.folder = folder
        self.state = folder / "state"
        self.run = folder / "run"
        self.config = folder / "cabinet.toml"
        text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
        for old, new in {**({} if demo else QUICK), **(changes or {})}.items():
            assert old in text, f"demo.toml has no {old!r} to change"
            text = text.replace(old, new)
        text += f'\n[paths]\nstate = "{self.state}"\nrun = "{self.run}"\n'
        text += "\n[service]\nport = 0\ncheckpoint_s = 1.0\n"
        self.config.write_text(text, encoding="utf-8")
        self.processes: dict[str, Process] = {}
        self.prefix: tuple[str, ...] = ()  # command that all processes run behind
        self._token: str | None = None

    def start(self, *names: str) -> None:
        """Start these, or all, each ready before the next."""
        for name in names or COMMANDS:
            self.processes[name] = Process(
                name,
                self._commands[name],
                self.folder,
                self.config,
                prefix=self.prefix,
                real_time="--demo" in self._commands[name],  # otherwise the process sees to it by itself
            )

    def stop(self) -> None:
        """Stop the last started first; every one must end by itself."""
        statuses = {name: self.processes[name].stop() for name in reversed(self.processes)}
        assert set(statuses.values()) <= {0, -signal.SIGKILL}, statuses

    def command(self, *words: str, fails: bool = False) -> str:
        """Run a `cabinet` command. Return its output; it must succeed, or fail if `fails` is set."""
        done = subprocess.run(
            [*self.prefix, sys.executable, "-m", "cabinet.main", *words, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def sim(self, *words: str) -> str:
        return self.command("sim", *words)

    def plug(self, outlet: int, load: str, charge: float | None = None) -> None:
        """Plug in as `cabinet sim plug` does, without a new interpreter."""
        with SimControl(self.run / "sim-control.sock") as control:
            control.plug(outlet, load, charge)

    def sim_state(self) -> dict[str, Any]:
        """Return the output of `cabinet sim state --json`, without a new interpreter each time."""
        with SimControl(self.run / "sim-control.sock") as control:
            return control.state()

    def journal(self, after: int = 0) -> list[dict[str, Any]]:
        """Return the journal of the simulated hardware from number `after` on, each record with its time."""
        with SimControl(self.run / "sim-control.sock") as control:
            return control.journal(after)

    # --- the guard, as a viewer sees it ------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        with BlockingGuard(guard_socket(self.run), Role.VIEWER) as link:
            return link.snapshot()

    def outlet(self, number: int) -> OutletState:
        return next(outlet for outlet in self.snapshot().outlets if outlet.outlet == number)

    def truth_mwh(self, outlet: int) -> float:
        """Return the energy that the simulated outlet delivered, in mWh."""
        return float(next(o["energy_uj"] for o in self.sim_state()["outlets"] if o["outlet"] == outlet)) / 3.6e6

    def reaction_ms(self, outlet: int) -> float:
        """Return the time from the last fault's current to the command that breaks it, by the simulator's own clock."""
        return reaction_ms(self.journal(), outlet)

    def phase(self, outlet: int) -> str:
        """Return the outlet's phase, or "no guard"."""
        try:
            return self.outlet(outlet).phase.value
        except LinkError:
            return "no guard"

    def all_contacts_open(self) -> bool:
        return not any(outlet["contacts_closed"] for outlet in self.sim_state()["outlets"])

    def guard_is_another(self, pid: int) -> bool:
        """Return whether the keeper has started a guard after the one of `pid`."""
        return self.guard_pids() not in ([], [pid])

    @staticmethod
    def now_ms() -> float:
        """Return the present time on the simulator journal's clock, in ms."""
        return time.monotonic_ns() / 1e6

    def guard_pids(self) -> list[int]:
        """Return the pids of the keeper's children that are guards."""
        keeper = self.processes["guard"].popen.pid
        children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
        return [int(pid) for pid in children if _name(int(pid)) == "cabinet-guard"]

    def guard_pid(self) -> int:
        (pid,) = self.guard_pids()
        return pid

    # --- people ------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return (service_address(self.run)).read_text().strip()

    def resident(self, card: str, balance_yuan: str = "20.00", language: str = "zh") -> "Resident":
        """A resident with a wallet, signed in on a phone."""
        database = admin.open_database(load(self.config))
        try:
            admin.add_resident(database, SystemClock(), card, pin="471108", first_fen=wallets.fen_of_yuan(balance_yuan))
        finally:
            database.close()
        return Resident(self, card, "471108", language)

    def api_token(self) -> str:
        """A new token of the property company."""
        return self.command("staff", "token", f"e2e-{time.monotonic_ns()}", "--scope", "usage:read").split()[-1]

    def usage(self) -> list[dict[str, Any]]:
        """The usage log, line by line as the API gives it."""
        if self._token is None:
            self._token = self.api_token()
        answer = httpx.get(f"{self.url}/api/v1/usage", headers={"Authorization": f"Bearer {self._token}"}, timeout=10)
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]


class Phone:
    """A phone without JavaScript: it reads pages and sends their forms."""

    def __init__(self, cabinet: RealCabinet, language: str = "zh") -> None:
        self.client = httpx.Client(
            base_url=cabinet.url, headers={"Accept-Language": language}, follow_redirects=True, timeout=10
        )

    def sign_in(self, card: str, pin: str) -> httpx.Response:
        return self.send(self.client.get("/sign-in"), "/sign-in", card=card, pin=pin)

    def send(self, page: httpx.Response, action: str, to: str | None = None, **fields: str) -> httpx.Response:
        """Fill in the form of `page` that goes to `action` and send it, hidden fields included; `to` elsewhere."""
        form = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', page.text, re.DOTALL)
        assert form is not None, f"no form to {action} on {page.url}:\n{page.text}"
        hidden = {}
        for tag in re.findall(r"<input[^>]*>", form[0]):
            if 'type="hidden"' in tag:
                name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
                assert name is not None, tag
                hidden[name[1]] = value[1] if value else ""
        return self.client.post(to or action, data={**hidden, **fields}, headers={"Referer": str(page.url)})

    def offer(self, code: str) -> httpx.Response:
        """The page of an outlet with a start on it, which there is not for a moment after the contactor closed."""

        shown: httpx.Response | None = None

        def page() -> bool:
            nonlocal shown
            shown = self.client.get(f"/s/{code}")
            return f"/s/{code}/start" in shown.text

        try:
            wait_for(f"a start on offer at {code}", page)
        except AssertionError as error:
            assert shown is not None
            raise AssertionError(f"{error}; the page said {shown.status_code}:\n{shown.text}") from error
        assert shown is not None
        return shown

    def start(self, code: str, **choice: str) -> httpx.Response:
        """Scan the code on an outlet and start it; the page that comes then."""
        page = self.offer(code)
        return self.send(page, f"/s/{code}/start", **{"kind": "full", **choice})


class Resident(Phone):
    """A phone with its owner signed in."""

    def __init__(self, cabinet: RealCabinet, card: str, pin: str, language: str) -> None:
        super().__init__(cabinet, language)
        page = self.sign_in(card, pin)
        assert page.status_code == 200, page.text


def _name(pid: int) -> str:
    """Return the name of the process; "" if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def reaction_ms(journal: list[dict[str, Any]], outlet: int) -> float:
    """Return the time from the last fault's onset to the next command to the outlet's or contactor's coil."""
    onset_ns = max(r["at_ns"] for r in journal if (r["kind"], r.get("outlet")) == ("fault_onset", outlet))
    off = {("coil_off", outlet), ("contactor_off", None)}
    off_ns = [r["at_ns"] for r in journal if (r["kind"], r.get("outlet")) in off]
    return float(min(at_ns for at_ns in off_ns if at_ns > onset_ns) - onset_ns) / 1e6


def wait_for(what: str, found: Callable[[], Any], within_s: float = 30.0) -> Any:
    """Poll `found` until it returns a true value. Return it. AssertionError names `what` at the deadline."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if result := found():
            return result
        select.select([], [], [], POLL_S)
    raise AssertionError(f"waited {within_s} s for {what}")


@contextlib.contextmanager
def running(
    folder: Path, changes: dict[str, str] | None = None, *names: str, gentle: bool = False
) -> Iterator[RealCabinet]:
    """A cabinet with its processes up; their logs are shown if a test fails."""
    cabinet = RealCabinet(folder, changes, gentle=gentle)
    try:
        cabinet.start(*names)
        yield cabinet
    except BaseException:
        for name, process in cabinet.processes.items():
            print(f"--- {name}\n{process.log[-6000:]}")
        raise
    finally:
        cabinet.stop()
