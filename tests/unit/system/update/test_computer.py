"""Changes of the computer in an update, with fakes of Debian's programs."""

import subprocess
import sys
from pathlib import Path

import pytest

from cabinet.errors import CabinetError
from cabinet.system.update import computer as module
from cabinet.system.update.computer import Computer

STATUS = """Package: cabinet
Status: install ok installed
Version: 0.1.0
Conffiles:
 /etc/cabinet/update-keys 0123
Description: a cabinet
"""


class Programs:
    """Scripts that stand for programs, and what they were called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.called = folder / "called"

    def add(self, name: str, script: str = "") -> None:
        program = self.folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.called}\n{script}\n')
        program.chmod(0o755)

    def calls(self) -> list[str]:
        return self.called.read_text().splitlines() if self.called.exists() else []


@pytest.fixture
def programs(tmp_path, monkeypatch):
    found = Programs(tmp_path)
    monkeypatch.setenv("PATH", f"{found.folder}:/usr/bin:/bin")
    return found


@pytest.fixture
def computer(tmp_path, programs):
    return Computer(tmp_path / "cabinet.toml")


# --- packing what is installed ---------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path, programs, monkeypatch):
    """A package of one program and one conffile, which the administrator has edited."""
    system, info, shipped = tmp_path / "system", tmp_path / "info", tmp_path / "as-shipped"
    keys = system / "etc/cabinet/update-keys"
    for path, text in (
        (system / "usr/bin/cabinet", "the program"),
        (keys, "# edited\nKEY maker"),
        (shipped / str(keys).lstrip("/"), "# as shipped"),
        (info / "cabinet.conffiles", f"{keys}\n"),
        (info / "cabinet.postinst", "#!/bin/sh"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    listed = "\n".join(str(path) for path in [system, *sorted(system.rglob("*"))])
    programs.add("dpkg-query", f"case $1 in --listfiles) echo '{listed}' ;; *) echo '{STATUS}' ;; esac")
    programs.add("dpkg-deb")
    monkeypatch.setattr(module, "_INFO", info)
    monkeypatch.setattr(module, "_AS_SHIPPED", shipped)
    return keys


def packed(files: Path, path: Path) -> Path:
    return files / str(path).lstrip("/")


def test_package_to_go_back_to_has_settings_as_they_were_shipped(computer, installed, tmp_path):
    """Packed as edited, dpkg would take them for the maker's, and the next package's would replace them unasked."""
    files = tmp_path / "old"
    computer.pack_installed(files, tmp_path / "old.deb")
    assert packed(files, installed).read_text() == "# as shipped"
    assert installed.read_text() == "# edited\nKEY maker"
    assert packed(files, tmp_path / "system/usr/bin/cabinet").read_text() == "the program"
    assert "Conffiles" not in (files / "DEBIAN/control").read_text()
    assert (files / "DEBIAN/conffiles").exists()


def test_settings_that_were_taken_away_are_packed_too(computer, installed, tmp_path):
    """A conffile that is listed and not in the package is no package; dpkg leaves it away where it was."""
    installed.unlink()
    computer.pack_installed(tmp_path / "old", tmp_path / "old.deb")
    assert packed(tmp_path / "old", installed).read_text() == "# as shipped"


def test_without_the_shipped_settings_there_is_no_package_to_go_back_to(computer, installed, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_AS_SHIPPED", tmp_path / "nowhere")
    with pytest.raises(CabinetError, match="reinstall cabinet first"):
        computer.pack_installed(tmp_path / "old", tmp_path / "old.deb")


# --- one program at a time installs ----------------------------------------------------------------------------------

HOLD = """
import fcntl, sys
with open(sys.argv[1], "w") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path, monkeypatch):
    """Another program that installs, until its standard input is closed."""
    lock = tmp_path / "lock-frontend"
    monkeypatch.setattr(module, "_LOCK", lock)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.close()


def test_installing_waits_for_another_program_that_installs(tmp_path, programs, other):
    programs.add("dpkg", 'echo "locked: $DPKG_FRONTEND_LOCKED"; exit 1')
    waited = []

    def wait(seconds):
        waited.append(seconds)
        other.stdin.close()
        other.wait()

    computer = Computer(tmp_path / "cabinet.toml", wait)
    with computer.package_tools(), pytest.raises(CabinetError, match="locked: 1"):
        computer.install(tmp_path / "new.deb")
    assert len(waited) == 1
    assert len(programs.calls()) == 1


def test_another_program_that_never_ends_is_named(tmp_path, programs, other, monkeypatch):
    monkeypatch.setattr(module, "_LOCK_TRIES", 3)
    waited: list[float] = []
    with pytest.raises(CabinetError, match="another program installs"), \
            Computer(tmp_path / "cabinet.toml", waited.append).package_tools():  # fmt: skip
        pass
    assert len(waited) == 3


@pytest.mark.parametrize(
    ("status", "verified", "whole"),
    [
        ("install ok installed 0.1.0", "", True),
        ("install ok installed 0.1.0", "??5??????   /usr/lib/cabinet/x.py", False),
        ("install ok installed 0.2.0", "", False),
        ("install reinstreq half-installed 0.1.0", "", False),
        ("", "", False),
    ],
)
def test_old_version_is_there_when_dpkg_says_so_and_no_file_was_changed(computer, programs, status, verified, whole):
    programs.add("dpkg-query", f"echo '{status}'; [ -n '{status}' ]")
    programs.add("dpkg", f"echo '{verified}'")
    assert computer.is_whole("0.1.0") is whole


# --- units -----------------------------------------------------------------------------------------------------------


def test_unit_that_does_not_start_keeps_no_other_from_it(tmp_path, programs):
    (tmp_path / "cabinet.toml").touch()
    programs.add("systemctl", 'case "$*" in "start cabinet-guard.service") echo "no bus" >&2; exit 1 ;; esac')
    assert Computer(tmp_path / "cabinet.toml").start() == ["systemctl start cabinet-guard.service: no bus"]
    started = [call.split()[-1] for call in programs.calls() if call.startswith("systemctl start")]
    assert started == [f"cabinet-{name}.service" for name in ("guard", "service", "steward", "console")]
    assert programs.calls()[0] == "systemctl reset-failed cabinet-guard.service", "it may have used up its restarts"


def test_every_resident_unit_is_on_trial(tmp_path, computer):
    """Except one that may be configured away, as the uplink: a dead link to a fleet takes no update back."""
    root = Path(module.__file__).parents[3]
    units = {unit.name: unit.read_text() for unit in (root / "systemd").glob("*.service")}
    always = {name for name, text in units.items() if "\nRestart=always\n" in text and "\nExecCondition=" not in text}
    assert set(module.UNITS) == always
    assert set(module.ALWAYS) == {
        unit for unit in always if "\nConditionPathExists=" not in (root / "systemd" / unit).read_text()
    }


@pytest.mark.parametrize(
    ("active", "sub", "said"),
    [("active", "running", ""), ("activating", "start", ""), ("activating", "auto-restart", "auto-restart"),
     ("failed", "failed", "failed"), ("inactive", "dead", "dead")],
)  # fmt: skip
def test_watcher_is_asked_after(computer, programs, active, sub, said):
    programs.add("systemctl", f'case "$*" in *=ActiveState*) echo {active} ;; *=SubState*) echo {sub} ;; esac')
    assert computer.watcher_gave_up() == said


def test_watcher_that_does_not_start_is_an_error_that_says_why(computer, programs):
    programs.add("systemctl", 'case "$1" in start) echo "no such unit" >&2; exit 5 ;; esac')
    with pytest.raises(CabinetError, match="no such unit"):
        computer.start_watcher()
    assert programs.calls() == [f"systemctl {verb} cabinet-update.service" for verb in ("reset-failed", "start")]


def test_mount_is_told_what_to_do(computer, programs):
    programs.add("mount")
    computer.remount("/", "rw")
    assert programs.calls() == ["mount -o remount,rw /"]


def test_database_of_before_is_copied_by_the_service_and_apart_from_its_backups(tmp_path, programs, monkeypatch):
    (tmp_path / "cabinet.toml").touch()
    monkeypatch.setattr(Computer, "has_database", lambda self: True)
    programs.add("setpriv", "echo /b/before-update.db")
    assert Computer(tmp_path / "cabinet.toml").back_up() == "/b/before-update.db"
    (call,) = programs.calls()
    assert call.startswith("setpriv --reuid=cabinet-service ")
    assert " store backup --before-update " in call
