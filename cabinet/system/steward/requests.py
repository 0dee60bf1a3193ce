"""Execution of the steward's requests. The machine is a parameter: a test passes its own clock and drives."""

import logging
import re
import subprocess
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cabinet.clock import set_wall_time
from cabinet.errors import CabinetError, LinkError
from cabinet.system.steward.backup_to_usb import back_up
from cabinet.system.steward.machine import Machine, StewardError
from cabinet.system.steward.protocol import (
    Answer,
    BackUp,
    CancelReboot,
    Failed,
    Interface,
    Network,
    Reboot,
    Request,
    RequestDone,
    Restart,
    SetClock,
)
from cabinet.system.steward.updates import InspectionContext, inspect_in_slices

log = logging.getLogger(__name__)

UNITS = ("cabinet-guard", "cabinet-service", "cabinet-console")
COMMAND_S = 10


def this_machine(backups: Path) -> Machine:
    """Return the real machine."""
    return Machine(backups, run_program, set_wall_time)


def run_program(words: Sequence[str]) -> bytes:
    """Run a program, return its output. Raises StewardError if it is missing, fails, or takes more than `COMMAND_S`."""
    try:
        done = subprocess.run(words, capture_output=True, timeout=COMMAND_S, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StewardError(f"{words[0]}: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise StewardError(f"{' '.join(words)}: {said[-1] if said else f'exit status {done.returncode}'}")
    return done.stdout


class StewardRequests:
    """Request handler; `poll` is called every few seconds, and executes a waiting reboot if no charge runs."""

    def __init__(self, context: InspectionContext, charging: Callable[[], bool]) -> None:
        """Take `charging`, which returns whether a resident's charge is under way, or raises LinkError if unknown."""
        self._context = context
        self._machine = context.machine
        self._charging = charging
        self._reboot_waits = False

    def answer(self, request: Request) -> Answer:
        """Execute the request; a failure is an answer too."""
        try:
            return self._do(request)
        except (CabinetError, OSError) as error:
            return _failed(error, type(request).__name__)

    def inspect(self) -> Generator[Answer, None, None]:
        """Yield the answers to `CheckUpdates`, one at most every `updates.SLICE_NS` while there are no findings."""
        try:
            yield from inspect_in_slices(self._context)
        except (CabinetError, OSError) as error:
            yield _failed(error, "CheckUpdates")
        else:
            yield RequestDone()

    def poll(self) -> None:
        """Execute a waiting reboot if no charge runs. If the guard does not answer, it protects none: do not wait."""
        if not self._reboot_waits:
            return
        try:
            busy = self._charging()
        except LinkError:
            busy = False
        if not busy:
            self._reboot_waits = False
            log.warning("no charge is running any more: rebooting")
            failed = self.answer(Reboot())
            if isinstance(failed, Failed):
                log.error("%s", failed.text)

    def _do(self, request: Request) -> Answer:
        machine = self._machine
        if isinstance(request, CancelReboot):
            waited, self._reboot_waits = self._reboot_waits, False
            return RequestDone(waited)
        if isinstance(request, Reboot) and request.wait:
            self._reboot_waits = True
            return RequestDone(True)
        if isinstance(request, SetClock):
            machine.set_clock(request.unix_ms)
        elif isinstance(request, Restart):
            machine.run(["systemctl", "--no-block", "restart", *UNITS])
        elif isinstance(request, Reboot):
            machine.run(["systemctl", "--no-block", "reboot"])
        elif isinstance(request, BackUp):
            return back_up(machine)
        else:
            return network(machine)
        return RequestDone()


def _failed(error: CabinetError | OSError, request: str) -> Failed:
    if isinstance(error, StewardError):
        return Failed(str(error), error.code, error.params)
    return Failed(str(error) if isinstance(error, CabinetError) else f"{error.filename or request}: {error.strerror}")


# --- network ---------------------------------------------------------------------------------------------------------


def network(machine: Machine) -> Network:
    """Return the network state from the kernel. Raises StewardError."""
    links = _decoded(machine.run(["ip", "-j", "address"]))
    routes = _decoded(machine.run(["ip", "-j", "route", "show", "default"]))
    try:
        resolver = machine.resolver.read_text(errors="replace")
    except OSError:
        resolver = ""
    return Network(
        [interface(link) for link in links if link.get("ifname") != "lo"],
        [f"{route['gateway']} ({route.get('dev', '?')})" for route in routes if "gateway" in route],
        re.findall(r"^nameserver\s+(\S+)", resolver, re.MULTILINE),
    )


def interface(link: dict[str, Any]) -> Interface:
    """Convert the entry of one interface in the output of `ip -j address`."""
    addresses = [f"{each['local']}/{each['prefixlen']}" for each in link.get("addr_info", []) if "local" in each]
    up = "LOWER_UP" in link.get("flags", [])  # the cable is plugged in, too
    return Interface(str(link.get("ifname", "?")), up, str(link.get("address", "")), addresses)


def _decoded(output: bytes) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(output or b"[]", type=list[dict[str, Any]])
    except msgspec.MsgspecError as error:
        raise StewardError(f"ip: says what nobody understands ({error})") from error
