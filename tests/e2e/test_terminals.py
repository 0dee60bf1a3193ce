"""A technician at real terminals: picocom in tmux and under pexpect, on a wire of 9600 baud, in both languages."""

import contextlib
import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from cabinet.system.run_folder import console_terminal
from cabinet_testing.real_cabinet import RealCabinet, running, wait_for
from cabinet_testing.serial_terminal import SerialTerminal
from cabinet_testing.serial_wire import SerialWire
from tools import get_terminals

BAUD = 9600
WITHIN_S = 30
STATUS_WITHIN_S = 3.0
UTF8 = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
TITLES = {"zh": "继电器", "en": "relay"}

pytestmark = pytest.mark.skipif(get_terminals.why_missing() is not None, reason=str(get_terminals.why_missing()))


@pytest.fixture(scope="module")
def slow_cabinet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCabinet]:
    changes = {'port = "pty"': f'port = "pty"\nbaud = {BAUD}'}
    with running(tmp_path_factory.mktemp("cabinet"), changes, gentle=True) as started:
        yield started


@pytest.fixture
def wire(slow_cabinet: RealCabinet) -> Iterator[SerialWire]:
    made = SerialWire((console_terminal(slow_cabinet.run)).resolve(), BAUD)
    yield made
    made.close()


def pin_of(cabinet: RealCabinet, name: str, level: str = "service") -> str:
    return cabinet.command("console", "--new-pin", name, "--level", level).strip().split()[-1]


# --- picocom under pexpect: plain lines ------------------------------------------------------------------------------


@contextlib.contextmanager
def picocom(wire: SerialWire) -> Iterator["pexpect.spawn[str]"]:
    child = pexpect.spawn(
        "picocom",
        ["--quiet", "--noreset", "--nolock", "-b", str(BAUD), wire.end],
        encoding="utf-8",
        codec_errors="replace",  # it may come in the middle of the greeting
        timeout=WITHIN_S,
        env={**os.environ, **UTF8, "TERM": "dumb"},
        dimensions=(24, 80),
    )
    try:
        yield child
    finally:
        child.close(force=True)


def log_in(child: "pexpect.spawn[str]", name: str, pin: str, language: str) -> None:
    child.send("\x15\r")
    child.expect("login: ")
    child.send(f"{name}\r")
    child.expect("PIN: ")
    child.send(f"{pin}\r")
    child.expect("DEMO-1> ")
    child.send("terminal plain\r")
    child.expect("DEMO-1> ")
    child.send(f"language {language}\r")
    child.expect("DEMO-1> ")


@pytest.mark.parametrize("language", ["zh", "en"])
def test_status_at_9600_baud_takes_less_than_three_seconds(
    slow_cabinet: RealCabinet, wire: SerialWire, language: str
) -> None:
    with picocom(wire) as child:
        log_in(child, "slow", pin_of(slow_cabinet, "slow"), language)
        began_s = time.monotonic()
        child.send("status\r")
        child.expect("DEMO-1> ")
        took_s = time.monotonic() - began_s
        assert TITLES[language] in child.before
        assert len(re.findall(r"^ *\d+  ", child.before, re.MULTILINE)) == 10
        print(f"status in {language}: {took_s:.2f} s")
        assert took_s < STATUS_WITHIN_S
        child.send("logout\r")
        child.expect("login: ")


@pytest.mark.parametrize("language", ["zh", "en"])
def test_no_character_is_lost_at_9600_baud(slow_cabinet: RealCabinet, language: str) -> None:
    """Four screens that do not change, over the slow wire and at full speed: the same to the last character."""
    pin = pin_of(slow_cabinet, "whole")
    shown: dict[int, list[str]] = {}
    for baud in (BAUD, 10_000_000):
        wire = SerialWire((console_terminal(slow_cabinet.run)).resolve(), baud)
        try:
            with picocom(wire) as child:
                log_in(child, "whole", pin, language)
                texts = []
                for command in ("limits", "help", "config protections", "config tariff"):
                    child.send(f"{command}\r")
                    child.expect("DEMO-1> ")
                    texts.append(child.before)
                shown[baud] = texts
                child.send("logout\r")
                child.expect("login: ")
        finally:
            wire.close()
    assert shown[BAUD] == shown[10_000_000]
    assert sum(map(len, shown[BAUD])) > 5000


# --- picocom in tmux: a terminal that can --------------------------------------------------------------------------


class Tmux:
    """One window of 80 by 30 with picocom in it."""

    def __init__(self, folder: Path, wire: SerialWire) -> None:
        self._base = ["tmux", "-u", "-L", f"cabinet-{uuid.uuid4().hex[:8]}", "-f", "/dev/null"]
        self._environment = {**os.environ, **UTF8, "TERM": "xterm-256color", "TMUX_TMPDIR": str(folder)}
        self._environment.pop("TMUX", None)
        program = f"picocom --quiet --noreset --nolock -b {BAUD} {wire.end}"
        self._run("new-session", "-d", "-x", "80", "-y", "30", program)

    def type(self, *keys: str) -> None:
        self._run("send-keys", *keys)

    def screen(self) -> str:
        return self._run("capture-pane", "-p")

    def see(self, what: str) -> str:
        """The screen, once it shows `what`."""

        def found() -> str | None:
            screen = self.screen()
            return screen if what in screen else None

        try:
            return str(wait_for(f"{what!r} on the terminal", found, WITHIN_S))
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows:\n{self.screen()}") from error

    def close(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("kill-server")

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [*self._base, *words], env=self._environment, capture_output=True, text=True, check=True, timeout=WITHIN_S
        )
        return done.stdout


@pytest.fixture
def tmux(tmp_path: Path, wire: SerialWire) -> Iterator[Tmux]:
    made = Tmux(tmp_path, wire)
    yield made
    made.close()


@pytest.mark.parametrize("language", ["zh", "en"])
def test_terminal_that_can_edits_lines_completes_and_pages(
    slow_cabinet: RealCabinet, tmux: Tmux, language: str
) -> None:
    name = f"tmux{language}"
    pin = pin_of(slow_cabinet, name)
    tmux.type("Enter")
    tmux.see("login:")
    tmux.type(name, "Enter")
    tmux.see("PIN:")
    tmux.type(pin, "Enter")
    tmux.see("DEMO-1>")
    tmux.type(f"language {language}", "Enter")
    tmux.see({"zh": "现在使用中文", "en": "English from now on"}[language])
    tmux.type("outxlet 3", "Left", "Left", "Left", "Left", "Left", "BSpace", "Enter")
    tmux.see("ADE7953")
    tmux.type("lim", "Tab", "Enter")
    tmux.see({"zh": "空格", "en": "-- more"}[language])
    tmux.type("q")
    tmux.type("C-l")
    tmux.type("Up", "Enter")
    tmux.see({"zh": "空格", "en": "-- more"}[language])
    tmux.type("q")
    tmux.type("watch", "Enter")
    screen = tmux.see({"zh": "版本", "en": "version"}[language])  # the last line
    assert sum(bool(re.match(r" *\d+  ", line)) for line in screen.splitlines()) == 10
    print(screen)
    tmux.type("x")
    tmux.type("logout", "Enter")
    tmux.see("login:")
    assert pin not in tmux.screen()


# --- something is dead ---------------------------------------------------------------------------------------------


def test_with_the_service_killed_all_that_the_guard_knows_works_and_the_audit_log_waits(
    slow_cabinet: RealCabinet,
) -> None:
    slow_cabinet.processes["service"].kill()
    with SerialTerminal(slow_cabinet) as terminal:
        terminal.log_in()
        terminal.run("language en")
        wait_for("the console to miss the service", lambda: "The service does not run" in terminal.run("status"))
        for command, told in {
            "outlet 3": "ADE7953",
            "sensors": "0x70/1A",
            "bus": "TMP102@0x49",
            "faults": "fault",
            "log": "guard started",
            "limits": "peak_a",
            "config console": "console.baud",
            "trips": "",
            "energy": "The service does not answer: no days.",
            "sessions": "The service does not answer",
            "usage tail": "The service does not answer",
        }.items():
            assert told in terminal.run(command), command
        assert "Outlet 3 is open." in terminal.run("off 3")
        assert "rows of the audit log wait for the service" in terminal.run("status")
        slow_cabinet.start("service")
        wait_for("the audit log in the store", lambda: terminal.run("audit 50").count("off 3") == 1)
        assert terminal.run("audit 50").count("off 3") == 1


def test_with_the_guard_killed_it_says_so_at_once_and_the_rest_works(slow_cabinet: RealCabinet) -> None:
    with SerialTerminal(slow_cabinet) as terminal:
        terminal.log_in()
        terminal.run("language en")
        guards = slow_cabinet.guard_pids()
        slow_cabinet.processes["guard"].kill()  # the keeper, which would start another
        for pid in guards:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        began_s = time.monotonic()
        assert "The guard does not answer" in terminal.run("status")
        assert time.monotonic() - began_s < STATUS_WITHIN_S
        assert "The guard does not answer" in terminal.run("off 3")
        for command, told in {
            "limits": "peak_a",
            "config site": "DEMO-1",
            "sessions": "",
            "trips": "",
            "audit": "off 3",
        }.items():
            shown = terminal.run(command)
            assert told in shown
            assert "The guard does not answer" not in shown, command
        slow_cabinet.start("guard")
        wait_for("the guard to be seen again", lambda: "real-time" in terminal.run("status"))
