"""What the Pi's own files are told: our lines once, nobody else's touched, and nothing written unasked."""

from pathlib import Path

import pytest

from cabinet import board
from cabinet.config import parse
from cabinet.config.reference import example
from cabinet.main import main

FOUND = "# For more options see the documentation\ndtparam=audio=on\ndtparam=i2c_arm=off\n\n[cm4]\notg_mode=1\n"
CMDLINE = "console=serial0,115200 console=tty1 root=PARTUUID=1-02 rootfstype=ext4 rootwait\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    boot = tmp_path / "boot"
    boot.mkdir()
    (boot / "config.txt").write_text(FOUND)
    (boot / "cmdline.txt").write_text(CMDLINE)
    (tmp_path / "cabinet.toml").write_text(example())
    return boot


def cabinet(folder: Path, *words: str) -> int:
    return main(["boot", "--folder", str(folder), "--config", str(folder.parent / "cabinet.toml"), *words])


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def settings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_lines_are_what_the_example_cabinet_needs():
    assert settings("\n".join(board.lines(parse(example())))) == [
        "[all]",
        "dtparam=i2c_arm=on",
        "dtparam=i2c_arm_baudrate=400000",
        "dtparam=strict_gpiod",
        "dtparam=watchdog=on",
        "gpio=17,27=ip,pd",
        "enable_uart=1",
    ]


def test_nothing_is_written_unless_told(folder, capsys):
    assert cabinet(folder) == 1
    assert files(folder) == {"config.txt": FOUND, "cmdline.txt": CMDLINE}
    shown = capsys.readouterr().out
    assert "+dtparam=strict_gpiod" in shown
    assert "-console=serial0,115200" in shown
    assert "cabinet boot --apply" in shown


def test_applied_lines_come_last_and_once(folder):
    assert cabinet(folder, "--apply") == 0
    first = files(folder)
    assert first["config.txt"].startswith(FOUND)
    assert settings(first["config.txt"])[-5:] == [
        "dtparam=i2c_arm_baudrate=400000",
        "dtparam=strict_gpiod",
        "dtparam=watchdog=on",
        "gpio=17,27=ip,pd",
        "enable_uart=1",
    ]
    assert first["cmdline.txt"] == "console=tty1 root=PARTUUID=1-02 rootfstype=ext4 rootwait\n"
    assert cabinet(folder, "--apply") == 0
    assert files(folder) == first


def test_what_was_there_is_kept_as_it_first_was(folder):
    cabinet(folder, "--apply")
    toml = folder.parent / "cabinet.toml"
    toml.write_text(toml.read_text().replace("# bus_speed_hz = 400000", "bus_speed_hz = 100000"))
    cabinet(folder, "--apply")
    after = files(folder)
    assert after["config.txt.before-cabinet"] == FOUND
    assert after["cmdline.txt.before-cabinet"] == CMDLINE
    assert after["config.txt"].count("i2c_arm_baudrate") == 1
    assert "dtparam=i2c_arm_baudrate=100000" in after["config.txt"]


def test_removed_lines_leave_the_file_as_it_was(folder):
    cabinet(folder, "--apply")
    assert cabinet(folder, "--remove") == 0
    assert settings(files(folder)["config.txt"]) == settings(FOUND)
    assert cabinet(folder, "--remove") == 0


def test_serial_login_stays_where_the_console_is_elsewhere(folder):
    toml = folder.parent / "cabinet.toml"
    toml.write_text(toml.read_text().replace("/dev/serial0", "/dev/ttyUSB0"))
    cabinet(folder, "--apply")
    assert files(folder)["cmdline.txt"] == CMDLINE
    assert "enable_uart" not in files(folder)["config.txt"]


def test_computer_that_is_no_pi_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("cabinet.commands.boot.FOLDERS", (str(tmp_path / "none"),))
    (tmp_path / "cabinet.toml").write_text(example())
    assert main(["boot", "--config", str(tmp_path / "cabinet.toml")]) == 1
    assert "is this a Raspberry Pi?" in capsys.readouterr().err
