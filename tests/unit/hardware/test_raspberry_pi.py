"""Changes of the Pi's own files: our lines once, no other line touched, nothing written unasked."""

from pathlib import Path

import pytest

from cabinet.config import parse
from cabinet.config.reference import example
from cabinet.hardware import raspberry_pi
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
    assert settings("\n".join(raspberry_pi.lines(parse(example())))) == [
        "[all]",
        "dtparam=i2c_arm=on",
        "dtparam=i2c_arm_baudrate=400000",
        "dtparam=strict_gpiod",
        "dtparam=watchdog=on",
        "[pi4]",
        "arm_boost=1",
        "core_freq=500",
        "core_freq_min=500",
        "[all]",
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
    assert settings(first["config.txt"])[-8:] == [
        "dtparam=watchdog=on",
        "[pi4]",
        "arm_boost=1",
        "core_freq=500",
        "core_freq_min=500",
        "[all]",
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


NOTES = (  # a note above, an old line below, a quoted value with two blanks
    b"# serial0 is put in by the firmware\n"
    b'console=serial0,115200 console=tty1 root=PARTUUID=aa-02 rootfstype=ext4 rootwait quiet dyndbg="file a  +p"\n'
    b"#console=tty1 root=/dev/sda2 rootwait init=/bin/sh\n"
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (NOTES, NOTES.replace(b"console=serial0,115200 ", b"")),
        (b"console=serial0,115200 console=tty1 rootwait", b"console=tty1 rootwait"),
        (b"console=tty1 console=ttyAMA0,115200 rootwait \n\n", b"console=tty1 rootwait \n\n"),
        (b"console=tty1  console=ttyS0,115200  rootwait\n", b"console=tty1   rootwait\n"),
        (b"rootwait console=serial0,115200\n", b"rootwait\n"),
        (b"rootwait console=serial0,115200\r\n# note\r\n", b"rootwait\r\n# note\r\n"),
        (b"console=serial0,115200\n", b"\n"),
        (b"console=serial0,115200\tconsole=ttyS0 rootwait\n", b"rootwait\n"),
        (b'"console=serial0,115200" console="ttyS0,9600" rootwait\n', b"rootwait\n"),
        (b'note="a console=serial0 b" rootwait\n', b'note="a console=serial0 b" rootwait\n'),
        (b"rootwait -- console=serial0\n", b"rootwait -- console=serial0\n"),
        (b"\n  # \xb4\xae\xbf\xda console=serial0\n\xe9=1 console=serial0 quiet\n",
         b"\n  # \xb4\xae\xbf\xda console=serial0\n\xe9=1 quiet\n"),
        (b"\xef\xbb\xbf# note\nconsole=serial0 quiet\n", b"\xef\xbb\xbf# note\nquiet\n"),
        (b"quiet\nconsole=serial0 of an old line\n", b"quiet\nconsole=serial0 of an old line\n"),
        (b"console=tty1 myconsole=serial0 netconsole=ttyS\n", b"console=tty1 myconsole=serial0 netconsole=ttyS\n"),
        (b"console=serial0,115200\xc2\xa0root=/dev/a rootwait\n", b"root=/dev/a rootwait\n"),
        (b"quiet\x0bconsole=serial0\x0croot=/dev/a\n", b"quiet\x0broot=/dev/a\n"),
        (b"root=/dev/a\xc2\xa0console=serial0\n", b"root=/dev/a\xc2\n"),  # as the kernel reads it
        (b"", b""),
        (b"# only a note console=serial0\n", b"# only a note console=serial0\n"),
    ],
)  # fmt: skip
def test_of_the_command_line_only_the_serial_consoles_of_the_live_line_go(before, after):
    assert raspberry_pi.without_serial_login(before) == after
    assert raspberry_pi.without_serial_login(after) == after


@pytest.mark.parametrize(
    "found",
    [
        b"", b"a=1", b"a=1\n", b"a=1\n\n\n", b"\n\na=1\n", b"a=1\r\nb=2\r\n", b"# \xd6\xd0 \xff\xfe\na=1 \n",
        b"a=1\r\nb=2",
    ],
)  # fmt: skip
def test_config_without_our_lines_is_byte_for_byte_what_it_was(found):
    once = raspberry_pi.with_lines(found, ["x=1"])
    assert once.startswith(found)
    assert raspberry_pi.with_lines(once, ["x=1"]) == once
    assert raspberry_pi.with_lines(raspberry_pi.with_lines(once, ["x=2"]), ["x=1"]) == once
    assert raspberry_pi.without_lines(once) == found


def test_lines_that_others_add_behind_ours_stay_lines_of_their_own():
    assert raspberry_pi.without_lines(raspberry_pi.with_lines(b"a=1", ["x=1"]) + b"b=2\n") == b"a=1\nb=2\n"
    assert raspberry_pi.without_lines(raspberry_pi.with_lines(b"a=1\n", ["x=1"]) + b"b=2") == b"a=1\nb=2"


def test_lines_are_found_again_after_an_editor_changed_the_line_ends():
    once = raspberry_pi.with_lines(b"a=1\n", ["x=1"]).replace(b"\n", b"\r\n")
    assert raspberry_pi.without_lines(once) == b"a=1\r\n"


def test_files_keep_their_mode_and_links_lead_where_they_did(folder):
    real = folder / "real.txt"
    (folder / "cmdline.txt").rename(real)
    (folder / "cmdline.txt").symlink_to("real.txt")
    real.write_bytes(NOTES)
    real.chmod(0o604)
    assert cabinet(folder, "--apply") == 0
    assert (folder / "cmdline.txt").is_symlink()
    assert real.read_bytes() == NOTES.replace(b"console=serial0,115200 ", b"")
    assert real.stat().st_mode & 0o777 == 0o604
    assert (folder / "cmdline.txt.before-cabinet").read_bytes() == NOTES
    assert list(folder.glob("*.part")) == []


def test_files_in_any_encoding_are_shown_and_written(folder, capsys):
    (folder / "config.txt").write_bytes(b"# \xb3\xe4\xb5\xe7\r\ndtparam=audio=on\r\n")
    assert cabinet(folder, "--apply") == 0
    assert (folder / "config.txt").read_bytes().startswith(b"# \xb3\xe4\xb5\xe7\r\ndtparam=audio=on\r\n")
    assert cabinet(folder, "--remove") == 0
    assert (folder / "config.txt").read_bytes() == b"# \xb3\xe4\xb5\xe7\r\ndtparam=audio=on\r\n"
    assert "+dtparam=strict_gpiod" in capsys.readouterr().out


def test_disk_that_takes_nothing_changes_nothing(folder, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cabinet.system.atomic_file.os.fsync", full)
    assert cabinet(folder, "--apply") == 1
    assert (folder / "cmdline.txt").read_text() == CMDLINE
    assert (folder / "config.txt").read_text() == FOUND
    assert "nothing is changed" in capsys.readouterr().err


def test_computer_that_is_no_pi_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("cabinet.commands.boot.FOLDERS", (str(tmp_path / "none"),))
    (tmp_path / "cabinet.toml").write_text(example())
    assert main(["boot", "--config", str(tmp_path / "cabinet.toml")]) == 1
    assert "is this a Raspberry Pi?" in capsys.readouterr().err
