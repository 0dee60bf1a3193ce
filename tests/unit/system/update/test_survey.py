"""Queries of the computer before an update, with fakes of Debian's programs."""

import base64
import signal
import subprocess

import pytest

from cabinet.errors import CabinetError
from cabinet.system.update import survey
from cabinet.system.update.computer import Computer, _mount, run_to_end
from cabinet.system.update.records import UpdateFolder
from cabinet.system.update.survey import age, trusted_keys
from cabinet.system.update.trial import UpdatePhase, UpdateRecord

VERIFY = """#!/bin/sh
[ -e "$(dirname "$0")/slow" ] && exec sleep 600
echo "??5?????? c /etc/cabinet/update-keys"
echo "??5??????   /usr/lib/cabinet/x.py"
echo "missing     /usr/bin/cabinet"
exit 1
"""
DPKG = """#!/bin/sh
case "$1" in
--print-architecture) echo arm64 ;;
--compare-versions) [ "$2" != "$4" ] && [ "$(printf '%s\\n' "$2" "$4" | sort -V | tail -1)" = "$2" ] ;;
--verify) exec "$(dirname "$0")/verify" ;;
esac
"""
QUERY = """#!/bin/sh
case "$2" in *Version*) echo 0.1.0 ;; *) echo 90 ;; esac
"""


@pytest.fixture
def computer(tmp_path, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("dpkg", DPKG), ("verify", VERIFY), ("dpkg-query", QUERY)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return Computer(tmp_path / "cabinet.toml")


def test_computer_is_surveyed_without_a_change(computer, tmp_path):
    records = UpdateFolder(tmp_path / "state" / "update")
    records.folder.parent.mkdir()
    found = survey.collect_facts(computer, records, run_to_end(computer.comparing()))
    assert (found.version, found.architecture, found.installed) == ("0.1.0", "arm64", 90 * 1024)
    assert found.free > 0
    assert (found.newer, found.sessions, found.on_trial) == (False, None, None)
    assert not records.folder.exists()


def test_who_keeps_everything_off_is_told_and_no_guard_is_missed(computer, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "cabinet.system.update.computer._SWITCHED_OFF", (tmp_path / "never", tmp_path / "everything-off")
    )
    monkeypatch.setattr("cabinet.system.update.computer._shown", lambda unit, name: "inactive")
    (tmp_path / "cabinet.toml").touch()
    computer = Computer(tmp_path / "cabinet.toml")
    assert (computer.switched_off(), "cabinet-guard.service" in computer.down()) == (False, True)
    (tmp_path / "everything-off").touch()
    assert (computer.switched_off(), "cabinet-guard.service" in computer.down()) == (True, False)


def test_changed_files_are_told_but_not_changed_settings(computer):
    assert run_to_end(computer.comparing()) == ["/usr/lib/cabinet/x.py", "/usr/bin/cabinet"]


def test_comparison_that_is_left_leaves_no_program_running(computer, tmp_path, monkeypatch):
    (tmp_path / "bin/slow").touch()
    begun = []

    class Kept(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            begun.append(self)

    monkeypatch.setattr(subprocess, "Popen", Kept)
    steps = computer.comparing()
    next(steps)
    steps.close()
    assert [process.poll() for process in begun] == [-signal.SIGKILL]


def test_update_under_way_is_found(computer, tmp_path):
    records = UpdateFolder(tmp_path)
    records.save(UpdateRecord(old="0.0.9", new="0.1.0", phase=UpdatePhase.TRIAL, boot_id="this", schema=None))
    assert survey.collect_facts(computer, records, run_to_end(computer.comparing())).on_trial == "0.1.0"


@pytest.mark.parametrize(("version", "found"), [("0.10.0", "newer"), ("0.1.0", "same"), ("0.0.9", "older")])
def test_versions_are_ordered_as_dpkg_orders_them(computer, version, found):
    assert age(computer, version, "0.1.0") == found


MOUNTS = "proc /proc proc rw 0 0\n/dev/a / ext4 {root},noatime 0 0\n/dev/b /usr2 ext4 ro 0 0\n"


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (MOUNTS.format(root="rw"), ("/", "rw,noatime")),
        (MOUNTS.format(root="ro"), ("/", "ro,noatime")),
        (MOUNTS.format(root="rw") + "/dev/c /usr ext4 ro 0 0\n", ("/usr", "ro")),
        (MOUNTS.format(root="ro") + "/dev/c /usr ext4 rw 0 0\n", ("/usr", "rw")),
        (MOUNTS.format(root="ro") + "/dev/c / ext4 rw 0 0\n", ("/", "rw")),  # mounted over
        ("", ("/", "rw")),
    ],
)
def test_mount_is_the_one_where_the_package_lies(mounts, expected):
    assert _mount(mounts, "/usr") == expected


def test_keys_that_are_missing_or_no_text_are_an_error_that_names_them(tmp_path):
    with pytest.raises(CabinetError, match="update-keys: No such file"):
        trusted_keys(tmp_path / "update-keys")
    (tmp_path / "update-keys").write_bytes(b"\xff\xfe")
    with pytest.raises(CabinetError, match="update-keys: is no text"):
        trusted_keys(tmp_path / "update-keys")
    (tmp_path / "update-keys").write_text(f"{base64.b64encode(bytes(range(32))).decode()} maker\n")
    assert list(trusted_keys(tmp_path / "update-keys").values()) == ["maker"]
