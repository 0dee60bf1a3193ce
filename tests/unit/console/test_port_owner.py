"""A line that the system itself uses is not opened, and it is said who has it and what to do."""

import pytest

from cabinet.console.terminal.port_owner import held_by
from cabinet.console.terminal.serial_port import open_port


def tree(root, active="tty0", unit=None, process=None):
    """Make the files of /sys, /run and /proc that are read."""
    (root / "sys/class/tty/console").mkdir(parents=True)
    (root / "sys/class/tty/console/active").write_text(f"{active}\n")
    (root / "run/systemd/units").mkdir(parents=True)
    if unit is not None:
        (root / "run/systemd/units" / f"invocation:{unit}").symlink_to("0123")
    (root / "proc/812").mkdir(parents=True)
    (root / "proc/812/cmdline").write_bytes(b"\0".join(process or [b"/usr/bin/python3", b"ttyAMA0"]) + b"\0")
    (root / "proc/self").mkdir()
    return root


def test_line_of_nobody_else_is_free(tmp_path):
    assert held_by("/dev/ttyAMA0", tree(tmp_path)) is None
    assert held_by("/dev/ttyAMA0", tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"active": "tty0 ttyAMA0"}, "take console=ttyAMA0 (or console=serial0) out of"),
        ({"unit": "serial-getty@ttyAMA0.service"}, "systemctl disable --now serial-getty@ttyAMA0.service"),
        ({"process": [b"/sbin/agetty", b"-L", b"ttyAMA0", b"115200"]}, "agetty (process 812) has the system's login"),
    ],
)
def test_holder_is_named_with_what_to_do(tmp_path, found, said):
    told = held_by("/dev/ttyAMA0", tree(tmp_path, **found))
    assert told is not None
    assert said in told
    assert held_by("/dev/ttyUSB0", tmp_path) is None


def test_alias_is_followed_to_the_line_it_names(tmp_path):
    real = tmp_path / "ttyAMA0"
    real.touch()
    (tmp_path / "serial0").symlink_to(real)
    assert held_by(str(tmp_path / "serial0"), tree(tmp_path / "root", active="ttyAMA0")) is not None


def test_held_line_is_not_opened(monkeypatch):
    monkeypatch.setattr("cabinet.console.terminal.serial_port.held_by", lambda device: "the kernel has it")
    with pytest.raises(OSError, match="the kernel has it"):
        open_port("/dev/null", 9600)
