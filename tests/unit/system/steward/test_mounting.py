"""USB drives that the steward mounts to inspect bundles, and lets go of."""

import pytest

from cabinet.system.steward import updates, usb_drives
from cabinet.system.steward.protocol import (
    DriveFound,
    Failed,
    InstalledVersion,
    RequestDone,
)
from cabinet.system.update import bundle
from cabinet_testing.fake_computer import THEIRS, FakeComputer
from cabinet_testing.usb_bundles import bundles, everything_on, inspected, look, put


@pytest.fixture
def computer(tmp_path):
    return FakeComputer(tmp_path)


def test_stick_that_nobody_has_mounted_is_mounted_read_only_and_unmounted_again(computer):
    _, manifest = put(computer)
    computer.nobody_has_mounted_it()
    _, stick, seen = look(computer)
    assert stick == DriveFound("/dev/sda1", "", 1)
    assert seen.manifest == manifest
    mounted, unmounted = computer.ran
    assert mounted[0] == "systemd-mount"
    assert "--options=ro,nosuid,nodev,noexec,nosymfollow" in mounted
    assert unmounted == ["systemctl", "--quiet", "stop", f"{str(computer.reading)[1:].replace('/', '-')}.mount"]
    assert not computer.reading.is_symlink()


def test_journal_of_a_stick_is_not_played_back(computer):
    put(computer)
    computer.nobody_has_mounted_it("ext4")
    look(computer)
    assert "--options=ro,noload,nosuid,nodev,noexec,nosymfollow" in computer.ran[0]


@pytest.mark.parametrize(("kind", "usage"), [("crypto_LUKS", "crypto"), ("", "")])
def test_drive_without_a_file_system_is_no_stick(computer, kind, usage):
    computer.nobody_has_mounted_it(kind, usage)
    assert [type(each) for each in look(computer)] == [InstalledVersion]


def test_file_system_that_is_not_known_is_not_mounted(computer):
    computer.nobody_has_mounted_it("romfs")
    _, stick = look(computer)
    assert "make it FAT, exFAT or ext4" in stick.problem
    assert computer.ran == []


def test_stick_that_cannot_be_mounted_says_why(computer):
    computer.nobody_has_mounted_it()
    computer.mount_fails = "wrong fs type, bad superblock"
    surveyed, stick = look(computer)
    assert surveyed.computer is not None
    assert "bad superblock" in stick.problem
    assert computer.ran[-1][:3] == ["systemctl", "--quiet", "stop"]  # it might be mounted late


def test_stick_that_somebody_has_mounted_stays_mounted(computer):
    put(computer)
    look(computer)
    assert computer.ran == []


def test_disk_that_the_system_runs_from_is_no_stick(computer):
    computer.mounts.write_text(f"/dev/sda2 / ext4 rw 0 0\n/dev/sda1 {computer.stick} vfat rw 0 0\n")
    assert [type(each) for each in look(computer)] == [InstalledVersion]


def test_partition_of_the_systems_disk_that_nobody_has_mounted_is_none_either(computer):
    computer.nobody_has_mounted_it()
    computer.mounts.write_text("/dev/root / ext4 rw 0 0\n/dev/sda2 /boot/firmware vfat rw 0 0\n")
    assert [type(each) for each in look(computer)] == [InstalledVersion]


def test_stick_that_a_killed_steward_has_left_mounted_is_let_go(computer):
    usb_drives.unmount_leftover(computer.machine)
    assert computer.ran == []
    computer.reading.symlink_to(computer.stick)
    computer.mounts.write_text(f"/dev/sda1 {computer.reading} vfat ro 0 0\n")
    usb_drives.unmount_leftover(computer.machine)
    assert not computer.reading.is_symlink()


def test_mount_that_is_listed_twice_is_one_stick(computer):
    """The folder /media of a unit is a copy of the computer's, and what is mounted later is in both."""
    line = f"/dev/sda1 {computer.stick} vfat rw 0 0\n"
    computer.mounts.write_text(line + line)
    assert [type(each) for each in look(computer)] == [InstalledVersion, DriveFound]


def test_two_sticks_are_both_looked_at(computer, tmp_path):
    put(computer)
    (tmp_path / "blocks/sdb").mkdir()
    (tmp_path / "blocks/sdb/removable").write_text("1\n")
    with computer.mounts.open("a") as mounts:
        mounts.write(f"/dev/sdb1 {tmp_path / 'backups'} ext4 rw 0 0\n")
    assert [each.device for each in look(computer) if isinstance(each, DriveFound)] == ["/dev/sda1", "/dev/sdb1"]


def test_stick_that_is_pulled_out_while_it_is_read_is_told_and_let_go(computer):
    for name in ("a.bundle", "b.bundle"):
        put(computer, name)
    computer.nobody_has_mounted_it()
    looking = inspected(computer)
    next(looking)
    assert next(looking) == DriveFound("/dev/sda1", "", 2)
    computer.pull_out()
    *seen, last = looking
    assert [(each.wrong, each.manifest) for each in seen] == [("unreadable", None)] * 2
    assert last == RequestDone()
    assert computer.ran[-1][:3] == ["systemctl", "--quiet", "stop"]


def test_read_error_in_the_middle_of_a_package_is_told(computer, monkeypatch):
    put(computer)

    def fails(file, manifest, keep=None):
        yield 1000
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(bundle, "through", fails)
    (seen,) = bundles(computer)
    assert (seen.wrong, seen.why) == ("unreadable", "Input/output error")


def test_look_that_is_left_lets_go_of_the_stick(computer):
    put(computer)
    computer.nobody_has_mounted_it()
    looking = computer.steward.inspect()
    next(looking)
    next(looking)
    assert computer.reading.is_symlink()
    looking.close()
    assert not computer.reading.is_symlink()


def test_comparison_that_is_left_runs_no_further(computer, monkeypatch):
    monkeypatch.setattr(updates, "SLICE_NS", 0)
    state = ["not begun"]

    def comparing():
        state[0] = "runs"
        try:
            while True:
                yield
        finally:
            state[0] = "ended"

    computer.system.comparing = comparing
    looking = computer.steward.inspect()
    for _ in range(3):
        next(looking)
    assert state == ["runs"]
    looking.close()
    assert state == ["ended"]


def test_failure_is_the_last_answer(computer):
    computer.mounts.unlink()
    *_, last = inspected(computer)
    assert last == Failed(f"{computer.mounts}: No such file or directory")


def test_look_changes_nothing(computer):
    put(computer)
    put(computer, "b.bundle", key=THEIRS)
    computer.nobody_has_mounted_it()
    before = everything_on(computer)
    look(computer)
    assert everything_on(computer) == before
    assert not computer.records.folder.exists()
