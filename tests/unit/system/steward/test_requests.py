"""The steward: a few things for the console's account, nothing for anybody else, over a real socket."""

import os
import socket
import threading

import msgspec
import pytest

from cabinet.clock import ManualClock
from cabinet.console.registry import error_text
from cabinet.console.wording import wording
from cabinet.errors import CabinetError, LinkError, Refused
from cabinet.system.steward import backup_to_usb, protocol, requests
from cabinet.system.steward.backup_to_usb import FOLDER
from cabinet.system.steward.client import SILENCE_NS, StewardSocketClient
from cabinet.system.steward.protocol import (
    BackUp,
    BackupCopied,
    BundleFound,
    CancelReboot,
    CheckUpdates,
    DriveFound,
    Failed,
    InstalledVersion,
    Network,
    Reboot,
    RequestDone,
    Restart,
    SetClock,
    ShowNetwork,
)
from cabinet.system.steward.requests import StewardRequests, interface
from cabinet.system.steward.server import MAX_WAITING, Server
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


# --- over the socket -------------------------------------------------------------------------------------------------


def served(tmp_path, computer, uids, ask):
    """Return the result of `ask` while one client is served."""
    path = tmp_path / "steward.sock"
    server = Server(path, frozenset(uids), computer.steward)
    thread = threading.Thread(target=server.serve_one, args=(10.0,))
    thread.start()
    try:
        return ask(path)
    finally:
        thread.join()
        server.close()


def test_console_asks_over_the_socket(tmp_path, computer):
    answer = served(tmp_path, computer, {os.geteuid()}, lambda path: StewardSocketClient(path, 10).ask(CancelReboot()))
    assert answer == RequestDone()


def test_console_is_told_by_code_what_it_has_words_for(tmp_path, computer):
    def ask(path):
        with pytest.raises(Refused, match="no_backup_yet"):
            StewardSocketClient(path, 10).ask(BackUp())

    served(tmp_path, computer, {os.geteuid()}, ask)


def test_other_accounts_are_refused_and_nothing_is_done(tmp_path, computer):
    def ask(path):
        with pytest.raises(CabinetError, match="serves the console only"):
            StewardSocketClient(path, 10).ask(Reboot())

    served(tmp_path, computer, {os.geteuid() + 1}, ask)
    assert computer.ran == []


def test_other_accounts_keep_the_console_waiting_for_no_moment(tmp_path, computer):
    """Each silent connection of another account would cost the console two seconds, and there may be dozens."""
    path = tmp_path / "steward.sock"
    server = Server(path, frozenset(), computer.steward)
    silent = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(MAX_WAITING)]
    for line in silent:
        line.connect(str(path))
        assert server.serve_one(0)  # in this thread: it would wait for what never comes
        assert isinstance(protocol.decode_answer(line.recv(protocol.MAX_FRAME)), Failed)
        line.close()
    server.close()


@pytest.mark.parametrize("frame", [b"{}", b"\xff\xfe", b'{"type":"run","words":["sh"]}', b"[" * 5000])
def test_frame_that_is_no_request_does_nothing(tmp_path, computer, frame):
    def ask(path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            line.connect(str(path))
            line.send(frame)
            return protocol.decode_answer(line.recv(protocol.MAX_FRAME))

    assert isinstance(served(tmp_path, computer, {os.geteuid()}, ask), Failed)
    assert computer.ran == []


class Served:
    """A steward on its socket, served by the test itself, one step at a time."""

    def __init__(self, tmp_path, computer):
        self.path = tmp_path / "steward.sock"
        self.server = Server(self.path, frozenset({os.geteuid()}), computer.steward)
        computer.nobody_has_mounted_it()
        (computer.stick / "a.bundle").write_bytes(b"junk")

    def begin(self):
        """A client whose inspection has reached the stick, which is mounted meanwhile."""
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line.connect(str(self.path))
        line.send(protocol.encode(CheckUpdates()))
        assert self.server.serve_one(10)
        assert not self.server.serve_one(10), "it does not wait while an inspection is under way"
        return line


@pytest.fixture
def line_of(tmp_path, computer):
    served = Served(tmp_path, computer)
    yield served
    served.server.close()


def read(line):
    return protocol.decode_answer(line.recv(protocol.MAX_FRAME))


def test_findings_come_one_after_the_other_over_one_connection(line_of, computer):
    with line_of.begin() as line:
        while line_of.server._inspection is not None:
            line_of.server.serve_one(0)
        kinds = [type(read(line)) for _ in range(4)]
        assert kinds == [InstalledVersion, DriveFound, BundleFound, RequestDone]
        assert line.recv(1) == b""
    assert not computer.reading.is_symlink()


def test_other_request_is_answered_in_the_middle_of_an_inspection(line_of, computer):
    with line_of.begin() as line, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.connect(str(line_of.path))
        other.send(protocol.encode(CancelReboot()))
        assert line_of.server.serve_one(0)
        assert read(other) == RequestDone()
        assert [type(read(line)) for _ in range(3)] == [InstalledVersion, DriveFound, BundleFound]


def test_client_that_goes_away_ends_its_inspection(line_of, computer):
    line = line_of.begin()
    assert computer.reading.is_symlink()
    line.close()
    line_of.server.serve_one(0)
    assert not computer.reading.is_symlink()


def test_client_that_ends_its_inspection_reads_the_end_once_the_stick_is_unmounted(line_of, computer):
    with line_of.begin() as line:
        line.shutdown(socket.SHUT_WR)
        line_of.server.serve_one(0)
        assert not computer.reading.is_symlink()
        assert [type(read(line)) for _ in range(2)] == [InstalledVersion, DriveFound]
        assert line.recv(1) == b""


def test_new_inspection_ends_the_one_under_way(line_of, computer):
    with line_of.begin() as first, line_of.begin() as second:
        assert [type(read(first)) for _ in range(2)] == [InstalledVersion, DriveFound]
        assert first.recv(1) == b""
        assert [type(read(second)) for _ in range(2)] == [InstalledVersion, DriveFound]


def test_client_that_does_not_read_loses_its_inspection(line_of, computer, monkeypatch):
    monkeypatch.setattr("cabinet.system.steward.server.MAX_SILENCE_S", 0.01)
    monkeypatch.setattr("cabinet.system.steward.updates.SLICE_NS", 0)
    computer.system.steps = 10**9
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        line.connect(str(line_of.path))
        line.send(protocol.encode(CheckUpdates()))
        line_of.server.serve_one(10)
        for _ in range(100_000):
            if line_of.server._inspection is None:
                break
            line_of.server.serve_one(0)
        assert line_of.server._inspection is None


def test_steward_that_ends_lets_go_of_the_stick(line_of, computer):
    with line_of.begin():
        assert computer.reading.is_symlink()
        line_of.server.close()
        assert not computer.reading.is_symlink()


def test_console_gets_the_findings_and_nothing_while_there_is_none(line_of):
    client = StewardSocketClient(line_of.path, 10)
    looking = client.inspect_updates()
    assert next(looking) is None, "nobody has served it yet"
    for _ in range(5):
        line_of.server.serve_one(0)
    assert [type(found) for found in looking] == [InstalledVersion, DriveFound, BundleFound]


def test_console_that_ends_an_inspection_waits_until_the_stick_is_unmounted(line_of, computer):
    looking = StewardSocketClient(line_of.path, 10).inspect_updates()
    assert next(looking) is None
    for _ in range(2):
        line_of.server.serve_one(0)
    assert [type(next(looking)) for _ in range(2)] == [InstalledVersion, DriveFound]
    assert computer.reading.is_symlink()

    def serve():
        while line_of.server._inspection is not None:
            line_of.server.serve_one(0)

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    looking.close()
    assert not computer.reading.is_symlink()
    serving.join(10)


def test_console_that_ends_an_inspection_is_refused_if_the_unmount_is_not_confirmed(line_of, monkeypatch):
    monkeypatch.setattr("cabinet.system.steward.client.END_NS", 1_000_000)
    looking = StewardSocketClient(line_of.path, 10).inspect_updates()
    assert next(looking) is None
    with pytest.raises(Refused, match="steward_gone"):
        looking.close()


def test_steward_that_is_silent_for_longer_than_dpkg_may_take_is_gone(line_of, monkeypatch):
    monkeypatch.setattr("cabinet.system.steward.client.WAIT_S", 0)
    clock = ManualClock()
    looking = StewardSocketClient(line_of.path, 10, clock).inspect_updates()
    assert next(looking) is None
    clock.advance_ns(SILENCE_NS - 1)
    assert next(looking) is None
    line_of.server.serve_one(0)
    assert [type(next(looking)) for _ in range(2)] == [InstalledVersion, type(None)]
    clock.advance_ns(SILENCE_NS - 1)
    assert next(looking) is None, "the finding was a sign of life"
    clock.advance_ns(1)
    with pytest.raises(Refused, match="steward_gone"):
        next(looking)


def test_failure_that_ends_an_inspection_is_in_the_log(line_of, computer, caplog):
    computer.mounts.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        line.connect(str(line_of.path))
        line.send(protocol.encode(CheckUpdates()))
        for _ in range(3):
            line_of.server.serve_one(0)
    assert "No such file or directory" in caplog.text


def test_console_is_told_of_a_failure_and_of_a_steward_that_is_killed(line_of, computer):
    client = StewardSocketClient(line_of.path, 10)
    computer.mounts.unlink()
    looking = client.inspect_updates()
    assert next(looking) is None
    for _ in range(3):
        line_of.server.serve_one(0)
    assert isinstance(next(looking), InstalledVersion)
    with pytest.raises(CabinetError, match="No such file or directory"):
        next(looking)
    looking = client.inspect_updates()
    assert next(looking) is None
    line_of.server.close()
    with pytest.raises(Refused, match="steward_gone"):
        next(looking)


def test_steward_that_is_told_to_end_waits_for_no_client(tmp_path, computer):
    server = Server(tmp_path / "steward.sock", frozenset(), computer.steward)
    waiting = threading.Thread(target=server.serve_one, daemon=True)
    waiting.start()
    server.wake()
    waiting.join(10)
    assert not waiting.is_alive()
    server.close()


def test_steward_that_is_not_there_is_a_refusal(tmp_path):
    with pytest.raises(Refused, match="steward_gone"):
        StewardSocketClient(tmp_path / "none.sock", 1).ask(CancelReboot())
