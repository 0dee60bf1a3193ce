"""`cabinet console` as a command: PINs, its port, and the process from start to SIGTERM."""

import os
import pwd
import select
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import serial

from cabinet.clock import SystemClock
from cabinet.console.accounts import ConsoleAccounts, Level
from cabinet.demo import folder
from cabinet.main import main
from cabinet.system.run_folder import console_terminal

WITHIN_S = 60  # only keeps a broken build from hanging


@pytest.fixture
def config(tmp_path) -> Path:
    return folder.prepare(tmp_path, None)


def staff(config: Path) -> ConsoleAccounts:
    return ConsoleAccounts(config.parent / "state" / "console-staff.json", SystemClock())


def test_new_pin_makes_an_account_and_prints_the_pin_once(config, capsys):
    assert main(["console", "--config", str(config), "--new-pin", "night", "--level", "look"]) == 0
    name, pin = capsys.readouterr().out.removesuffix("\n").split(": PIN ")
    assert staff(config).check(name, pin).level is Level.LOOK


def test_removed_account_is_gone(config, capsys):
    staff(config).set_pin("night", Level.LOOK, "123456")
    assert main(["console", "--config", str(config), "--remove", "night"]) == 0
    assert capsys.readouterr().out == "night: removed\n"
    assert "night" not in staff(config).names()
    assert main(["console", "--config", str(config), "--remove", "night"]) == 1
    assert "there is no such account" in capsys.readouterr().err


def test_pin_made_by_root_is_of_the_consoles_account(config, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    consoles = pwd.struct_passwd(("cabinet-console", "x", 992, 990, "", "/", "/bin/false"))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: {"cabinet-console": consoles}[name])
    given = []
    monkeypatch.setattr(os, "fchown", lambda descriptor, user, group: given.append(user))
    assert main(["console", "--config", str(config), "--new-pin", "night"]) == 0
    assert given == [992]


def test_name_that_is_none_is_one_line(config, capsys):
    assert main(["console", "--config", str(config), "--new-pin", "Night Shift"]) == 1
    assert capsys.readouterr().err.startswith("'Night Shift' is no account name")


def test_no_port_is_one_line(config, capsys):
    config.write_text(config.read_text().replace('port = "pty"', 'port = ""'))
    assert main(["console", "--config", str(config)]) == 1
    assert capsys.readouterr().err == f"{config}: console.port: is empty, so there is no console to serve\n"


def start(config: Path, stdout: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "cabinet.main", "console", "--config", str(config)],
        stdout=stdout,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "CABINET_CONFIG": str(config)},
    )


def read_line(descriptor: int) -> str:
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(descriptor, 1)
    return line.decode().strip()


def test_process_from_first_start_to_sigterm(config):
    """The first PIN on the installer's screen works, and the terminal is found through its link.

    The absent guard is reported, files are removed at the end, and every command is in the audit log that waits for a
    service.
    """
    link = console_terminal(config.parent / "run")
    link.parent.mkdir()
    link.symlink_to("/nowhere")  # as a killed process leaves it
    screen, inner = os.openpty()
    console = start(config, inner)
    os.close(inner)
    try:
        first = read_line(screen)
        assert first.startswith("first console account: tech, PIN ")
        pin = first.split("PIN ")[1][:6]
        wait_for_terminal(link)
        with serial.Serial(str(link.resolve()), 115_200, timeout=WITHIN_S) as terminal:
            terminal.read_until(b"login: ")
            terminal.write(b"tech\r" + pin.encode() + b"\r")
            assert "已登录：tech（维修）" in terminal.read_until(b"DEMO-1> ").decode()
            terminal.write(b"status\r")
            assert "保护程序没有应答" in terminal.read_until(b"DEMO-1> ").decode()
        console.send_signal(signal.SIGTERM)
        assert console.wait(WITHIN_S) == 0
        assert not link.is_symlink()
    finally:
        console.kill()
        console.wait()
        os.close(screen)
    rows = [msgspec.json.decode(row) for row in (config.parent / "state" / "console-audit.jsonl").open("rb")]
    assert [(row["account"], row["line"], row["outcome"]) for row in rows] == [
        ("tech", "login", "ok"),
        ("tech", "status", "guard_gone"),
    ]


def test_first_pin_is_never_in_a_service_managers_log(config):
    """Standard output that is no screen gets no PIN, and no account is made; the terminal says what to do."""
    link = console_terminal(config.parent / "run")
    console = start(config, subprocess.PIPE)
    try:
        assert console.stdout is not None
        assert b"no console account yet" in console.stdout.readline()
        wait_for_terminal(link)
        with serial.Serial(str(link.resolve()), 115_200, timeout=WITHIN_S) as terminal:
            assert "cabinet console --new-pin" in terminal.read_until(b"login: ").decode()
    finally:
        console.kill()
        console.wait()
        if console.stdout is not None:
            console.stdout.close()
    assert staff(config).names() == []


def wait_for_terminal(link: Path) -> None:
    """Asks until the link leads to a device; the process has said its first line before it makes it."""
    for _ in range(WITHIN_S * 50):
        if link.resolve().is_char_device():
            return
        select.select([], [], [], 0.02)
    raise AssertionError(f"{link} never led to a terminal")
