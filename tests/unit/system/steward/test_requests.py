"""The steward: a few things for the console's account, nothing for anybody else, over a real socket."""

import os

import msgspec
import pytest

from cabinet.console.registry import error_text
from cabinet.console.wording import wording
from cabinet.errors import CabinetError, LinkError, Refused
from cabinet.system.steward import backup_to_usb, protocol, requests
from cabinet.system.steward.backup_to_usb import FOLDER
from cabinet.system.steward.protocol import (
    BackUp,
    BackupCopied,
    CancelReboot,
    Failed,
    Network,
    Reboot,
    RequestDone,
    Restart,
    SetClock,
    ShowNetwork,
)
from cabinet.system.steward.requests import StewardRequests, interface
from cabinet.system.steward.usb_drives import drive_for_backup
from cabinet.texts import LANGUAGES
from cabinet_testing.fake_computer import FakeComputer

MS_2026 = 1_795_000_000_000


@pytest.fixture
def computer(tmp_path):
    return FakeComputer(tmp_path)


def test_clock_is_set_and_nonsense_is_no_request(computer):
    assert computer.steward.answer(SetClock(MS_2026)) == RequestDone()
    assert computer.clock_ms == MS_2026
    with pytest.raises(LinkError):
        protocol.decode_request(b'{"type":"set_clock","unix_ms":0}')


def test_clock_that_may_not_be_set_says_so(computer):
    def forbidden(ms):
        raise PermissionError(1, "Operation not permitted")

    machine = msgspec.structs.replace(computer.machine, set_clock=forbidden)
    context = msgspec.structs.replace(computer.context, machine=machine)
    assert StewardRequests(context, computer.anybody).answer(SetClock(MS_2026)) == Failed(
        "SetClock: Operation not permitted"
    )


def test_network_is_shown_as_the_kernel_has_it(computer):
    shown = computer.steward.answer(ShowNetwork())
    assert isinstance(shown, Network)
    assert [(each.name, each.up, each.addresses) for each in shown.interfaces] == [
        ("eth0", True, ["192.0.2.7/24", "2001:db8::7/64"]),
        ("wlan0", False, []),
    ]
    assert (shown.gateways, shown.name_servers) == (["192.0.2.1 (eth0)"], ["192.0.2.53"])
    assert interface({}).name == "?"


def test_newest_backup_goes_to_the_stick_and_reads_back(computer):
    for number, content in ((1, b"old"), (2, b"new")):
        path = computer.backups / f"cabinet-00000{number}-2026-11-25T00-00-00.db"
        path.write_bytes(content)
        os.utime(path, (number, number))
    copied = computer.steward.answer(BackUp())
    assert isinstance(copied, BackupCopied)
    assert copied.size == 3
    assert [path.name for path in (computer.stick / FOLDER).iterdir()] == ["cabinet-000002-2026-11-25T00-00-00.db"]
    assert (computer.stick / FOLDER / "cabinet-000002-2026-11-25T00-00-00.db").read_bytes() == b"new"


def test_stick_that_nobody_has_mounted_is_mounted_for_the_backup_and_let_go(computer):
    """The console cannot mount one, and the drive of the nightly backups may be plugged in too."""
    (computer.backups / "cabinet-000001-2026-11-25T00-00-00.db").write_bytes(b"new")
    computer.nobody_has_mounted_it()
    (computer.machine.blocks / "sdb").mkdir()
    (computer.machine.blocks / "sdb/removable").write_text("1\n")
    with computer.mounts.open("a") as mounts:
        mounts.write("/dev/sdb1 /media/cabinet-backup ext4 rw 0 0\n")
    copied = computer.steward.answer(BackUp())
    assert copied.to == f"/dev/sda1: {FOLDER}/cabinet-000001-2026-11-25T00-00-00.db"
    assert copied.let_go
    assert (computer.stick / FOLDER / "cabinet-000001-2026-11-25T00-00-00.db").read_bytes() == b"new"
    mounted, unmounted = computer.ran
    assert "--options=rw,nosuid,nodev,noexec,nosymfollow" in mounted
    assert unmounted[:3] == ["systemctl", "--quiet", "stop"]
    assert not computer.reading.exists()


def test_stick_is_let_go_where_the_backup_fails(computer, monkeypatch):
    (computer.backups / "cabinet-000001-2026-11-25T00-00-00.db").write_bytes(b"new")
    computer.nobody_has_mounted_it()
    monkeypatch.setattr(backup_to_usb, "_digest", lambda path: str(path))
    assert "does not read back" in computer.steward.answer(BackUp()).text
    assert not computer.reading.exists()


def test_backup_says_what_is_missing_and_leaves_no_half_file(computer, monkeypatch):
    assert "no backup there yet" in computer.steward.answer(BackUp()).text
    (computer.backups / "cabinet-000001-2026-11-25T00-00-00.db").write_bytes(b"x" * 1000)
    monkeypatch.setattr(backup_to_usb, "_digest", lambda path: str(path))
    assert "does not read back" in computer.steward.answer(BackUp()).text
    assert list((computer.stick / FOLDER).iterdir()) == []
    computer.mounts.write_text("/dev/mmcblk0p2 / ext4 rw 0 0\n")
    assert "no removable drive" in computer.steward.answer(BackUp()).text


@pytest.mark.parametrize("language", LANGUAGES)
def test_technician_reads_in_their_language_why_there_is_no_backup_on_the_drive(computer, language, monkeypatch):
    def why_not() -> str:
        failed = computer.steward.answer(BackUp())
        return error_text(wording(language), Refused(failed.code, **failed.params))

    said = [why_not()]
    (computer.backups / "cabinet-000001-2026-11-25T00-00-00.db").write_bytes(b"x" * 4096)
    monkeypatch.setattr(backup_to_usb, "_digest", lambda path: str(path))
    said.append(why_not())
    monkeypatch.setattr(backup_to_usb, "ROOM", 10**12)
    said.append(why_not())
    computer.mounts.write_text(f"/dev/sda1 {computer.stick} vfat rw 0 0\n/dev/sda2 /media/b vfat rw 0 0\n")
    said.append(why_not())
    computer.mounts.write_text("/dev/mmcblk0p2 / ext4 rw 0 0\n")
    said.append(why_not())
    computer.nobody_has_mounted_it(kind="ntfs")
    said.append(why_not())
    codes = ("no_backup_yet", "drive_bad", "drive_full", "drives", "no_drive", "drive_kind")
    blanks = {"kib": "4", "there": f"{computer.stick}, /media/b", "device": "/dev/sda1", "kind": "ntfs"}
    words = wording(language)
    assert said == [words(f"refusal.{code}", **blanks) for code in codes]


def test_stick_that_is_mounted_while_we_run_is_listed_twice_and_is_one_drive(computer):
    """A unit's /media is a copy of the computer's, and the kernel mounts it in both."""
    computer.mounts.write_text(f"/dev/sda1 {computer.stick} vfat rw 0 0\n" * 2)
    assert drive_for_backup(computer.machine).place == computer.stick


def test_disk_that_the_system_runs_from_is_no_drive_to_write_a_backup_to(computer):
    computer.mounts.write_text(f"/dev/sda2 / ext4 rw 0 0\n/dev/sda1 {computer.stick} vfat rw 0 0\n")
    with pytest.raises(CabinetError, match="no removable drive"):
        drive_for_backup(computer.machine)


@pytest.mark.parametrize(
    "line", ["/dev/sda1 {stick} vfat ro 0 0", "/dev/mmcblk0p1 {stick} vfat rw 0 0", "tmpfs /tmp tmpfs rw 0 0", ""]
)
def test_only_a_writable_removable_drive_is_one(computer, line):
    computer.mounts.write_text(line.format(stick=computer.stick) + "\n")
    with pytest.raises(CabinetError, match="no removable drive"):
        drive_for_backup(computer.machine)


def test_of_two_drives_none_is_guessed(computer):
    computer.mounts.write_text(f"/dev/sda1 {computer.stick} vfat rw 0 0\n/dev/sda2 /media/b vfat rw 0 0\n")
    with pytest.raises(CabinetError, match="leave one"):
        drive_for_backup(computer.machine)


def test_restart_and_reboot_are_systemds(computer):
    computer.steward.answer(Restart())
    computer.steward.answer(Reboot())
    assert computer.ran == [
        ["systemctl", "--no-block", "restart", "cabinet-guard", "cabinet-service", "cabinet-console"],
        ["systemctl", "--no-block", "reboot"],
    ]


def test_reboot_waits_for_residents_and_is_called_off(computer):
    computer.charging = True
    assert computer.steward.answer(Reboot(wait=True)) == RequestDone(waiting=True)
    computer.steward.poll()
    assert computer.ran == []
    assert computer.steward.answer(CancelReboot()) == RequestDone(waiting=True)
    computer.charging = False
    computer.steward.poll()
    assert computer.ran == []
    computer.steward.answer(Reboot(wait=True))
    computer.steward.poll()
    computer.steward.poll()
    assert computer.ran == [["systemctl", "--no-block", "reboot"]]


def test_reboot_does_not_wait_for_a_guard_that_is_gone(computer):
    computer.steward.answer(Reboot(wait=True))
    computer.gone = True
    computer.steward.poll()
    assert len(computer.ran) == 1


def test_program_that_fails_is_said_in_one_line():
    with pytest.raises(CabinetError, match="no-such-program"):
        requests.run_program(["no-such-program-here"])
    with pytest.raises(CabinetError, match="exit status 3"):
        requests.run_program(["sh", "-c", "exit 3"])
