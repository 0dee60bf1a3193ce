"""The computer that is updated: Debian's package tools, systemd and the product's own commands, each as a process."""

import contextlib
import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Literal

from cabinet.errors import CabinetError
from cabinet.update.survey import at_once

PACKAGE = "cabinet"
COMMAND = "/usr/bin/cabinet"  # the installed version's, whichever that is; not this program's own
SERVICE = "cabinet-service.service"
ALWAYS = ("cabinet-steward.service", "cabinet-console.service")  # run without a configuration too
UNITS = ("cabinet-guard.service", SERVICE, *ALWAYS)
WATCHER = "cabinet-update.service"
_INSTALL_WITHIN_S = 900  # an SD card at its end takes minutes
_COMMAND_WITHIN_S = 120
_POLL_S = 0.2
_LOCK = Path("/var/lib/dpkg/lock-frontend")
_LOCK_TRIES = 600
_LOCK_EVERY_S = 1.0
_WRITTEN = ("/usr", "/etc", "/var/lib/dpkg")  # by an installation
_INFO = Path("/var/lib/dpkg/info")
_SWITCHED_OFF = (
    Path("/run/cabinet/everything-off"),
    Path("/var/lib/cabinet/failsafe/everything-off"),
)  # by cabinet-failsafe
_AS_SHIPPED = Path("/usr/share/cabinet/as-shipped")
_SCRIPTS = ("postinst", "prerm", "postrm", "conffiles", "md5sums")


class Computer:
    """The one we run on; everything here needs root. `config` is the cabinet's configuration, which may be absent."""

    def __init__(self, config: Path, wait: Callable[[float], None] = time.sleep) -> None:
        self._config = config
        self._wait = wait
        self._units = UNITS if config.exists() else ALWAYS

    # --- what `watch` needs -----------------------------------------------------------------------------------------

    def boot_id(self) -> str:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    @contextlib.contextmanager
    def package_tools(self) -> Iterator[None]:
        """dpkg does not wait for another program that installs, so who calls it does, as apt would: ten minutes."""
        try:
            lock = _LOCK.open("w")
        except OSError as error:
            raise CabinetError(f"{_LOCK}: {error.strerror}") from error
        with lock:
            for _ in range(_LOCK_TRIES):
                try:
                    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except (BlockingIOError, PermissionError):
                    self._wait(_LOCK_EVERY_S)
            else:
                raise CabinetError(f"another program installs packages, and holds {_LOCK}")
            yield

    def install(self, package: Path) -> None:
        """Raises CabinetError. Configuration files that were changed stay as they are."""
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C", "DPKG_FRONTEND_LOCKED": "1"}
        _run(
            ["dpkg", "--install", "--force-downgrade", "--force-confold", "--force-confdef", str(package)],
            _INSTALL_WITHIN_S, environment,
        )  # fmt: skip

    def is_whole(self, version: str) -> bool:
        """Whether that version is installed, to its end and with every file as it came."""
        asked = ["dpkg-query", "--show", "--showformat=${Status} ${Version}", PACKAGE]
        shown = _run(asked, _COMMAND_WITHIN_S, check=False).strip()
        return shown == f"install ok installed {version}" and not at_once(self.comparing())

    def read_only_places(self) -> Sequence[str]:
        """The file systems among those an installation writes to. As the computer's first process sees them: to a unit
        with ProtectSystem everything looks read-only.
        """
        try:
            mounts = Path("/proc/1/mounts").read_text(errors="replace")
        except OSError as error:
            raise CabinetError(f"/proc/1/mounts: {error.strerror}: run this as root") from error
        found = (_mount(mounts, path) for path in _WRITTEN)
        return list(dict.fromkeys(place for place, options in found if "ro" in options.split(",")))

    def remount(self, place: str, how: Literal["rw", "ro"]) -> None:
        _run(["mount", "-o", f"remount,{how}", place], _COMMAND_WITHIN_S)

    def down(self) -> Sequence[str]:
        found = [unit for unit in self._units if _shown(unit, "ActiveState") != "active"]
        return [unit for unit in found if unit not in UNITS[:1]] if found and self.switched_off() else found

    def restarted(self) -> Sequence[str]:
        """systemd counts from 0 again when a unit is started by somebody, as installing does."""
        return [unit for unit in self._units if _shown(unit, "NRestarts") not in ("", "0")]

    def self_test(self) -> Sequence[str]:
        if not self._config.exists():
            return _problem([COMMAND, "--version"])
        found = _problem([COMMAND, "check", str(self._config)])
        if not found and self.has_database():
            found = _problem([*_as_service(), COMMAND, "store", "check", "--config", str(self._config)])
        return found

    def schema(self) -> int | None:
        """Asked of the file itself: this program may be older than what is in it."""
        code = (
            "import contextlib, sqlite3, sys\n"
            "with contextlib.closing(sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)) as found:\n"
            "    print(found.execute('SELECT max(version) FROM schema_migration').fetchone()[0])\n"
        )
        try:
            return int(
                _run([*_as_service(), sys.executable, "-I", "-c", code, str(self._database())], _COMMAND_WITHIN_S)
            )
        except (CabinetError, ValueError):
            return None

    def restore(self, backup: Path) -> None:
        _run(["systemctl", "stop", SERVICE], _COMMAND_WITHIN_S)
        _run(
            [*_as_service(), COMMAND, "store", "restore", str(backup), "--config", str(self._config)], _INSTALL_WITHIN_S
        )

    def start(self) -> Sequence[str]:
        found: list[str] = []
        for unit in self._units:
            found += _started(unit)
        return found

    # --- what comes before it ---------------------------------------------------------------------------------------

    def start_watcher(self) -> None:
        """Raises CabinetError."""
        if problems := _started(WATCHER):
            raise CabinetError(problems[0])

    def watcher_gave_up(self) -> str:
        """What became of who sees the update through, in systemd's word; "" while it is at it."""
        state, step = _shown(WATCHER, "ActiveState"), _shown(WATCHER, "SubState")
        return step if state in ("inactive", "failed") or step.startswith("auto-restart") else ""

    def sync(self) -> None:
        """Everything that was written is on disk."""
        os.sync()

    def version(self) -> str:
        return _run(["dpkg-query", "--show", "--showformat=${Version}", PACKAGE], _COMMAND_WITHIN_S).strip()

    def installed_bytes(self) -> int:
        shown = _run(["dpkg-query", "--show", "--showformat=${Installed-Size}", PACKAGE], _COMMAND_WITHIN_S)
        return 1024 * int(shown)

    def switched_off(self) -> bool:
        """Whether staff keep everything off: then no guard runs, of whatever version."""
        return any(file.exists() for file in _SWITCHED_OFF)

    def architecture(self) -> str:
        return _run(["dpkg", "--print-architecture"], _COMMAND_WITHIN_S).strip()

    def python(self) -> str:
        return ".".join(platform.python_version_tuple()[:2])

    def is_newer(self, version: str, than: str) -> bool:
        done = subprocess.run(["dpkg", "--compare-versions", version, "gt", than], check=False)
        return done.returncode == 0

    def comparing(self) -> Generator[None, None, Sequence[str]]:
        """Files of the installed package, other than its configuration, that are not as they came.

        Every file is read, which takes seconds: yields five times a second until that is over. Whoever does not go on
        with it leaves nothing running.
        """
        with tempfile.TemporaryFile("w+") as said:
            with subprocess.Popen(["dpkg", "--verify", PACKAGE], stdout=said, stderr=subprocess.DEVNULL) as dpkg:
                try:
                    while not _ended(dpkg):
                        yield
                finally:
                    dpkg.kill()
            said.seek(0)
            return [line.split()[-1] for line in said if line.strip() and " c " not in line]

    def sessions(self) -> int | None:
        if not (self._config.exists() and self.has_database()):
            return 0
        try:
            asked = [*_as_service(), COMMAND, "store", "running", "--config", str(self._config)]
            return int(_run(asked, _COMMAND_WITHIN_S))
        except (CabinetError, ValueError):
            return None

    def has_database(self) -> bool:
        return self._database().exists()

    def back_up(self) -> str:
        """The database as it is now, apart from the seven that are kept; "" where there is none."""
        if not (self._config.exists() and self.has_database()):
            return ""
        return _run(
            [*_as_service(), COMMAND, "store", "backup", "--before-update", "--config", str(self._config)],
            _INSTALL_WITHIN_S,
        ).strip()

    def pack_installed(self, files: Path, package: Path) -> None:
        """What is installed, as files and as a package once more. Raises CabinetError."""
        shutil.rmtree(files, ignore_errors=True)
        for listed in _run(["dpkg-query", "--listfiles", PACKAGE], _COMMAND_WITHIN_S).splitlines():
            source, target = Path(listed), files / listed.lstrip("/")
            if source.is_symlink() or source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
            elif source.is_dir():
                target.mkdir(parents=True, exist_ok=True)
        control = files / "DEBIAN"
        control.mkdir()
        fields = _run(["dpkg-query", "--status", PACKAGE], _COMMAND_WITHIN_S).splitlines()
        (control / "control").write_text("\n".join(_without(fields, "Status", "Conffiles")) + "\n")
        for name in _SCRIPTS:
            source = _INFO / f"{PACKAGE}.{name}"
            if source.exists():
                shutil.copy2(source, control / name)
        _pack_conffiles(files)
        _run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(files), str(package)], _INSTALL_WITHIN_S
        )

    def _database(self) -> Path:
        from cabinet import config

        try:
            return Path(config.load(self._config).paths.state) / "cabinet.db"
        except CabinetError:
            return Path("/var/lib/cabinet/cabinet.db")


def _pack_conffiles(files: Path) -> None:
    """Each as it was shipped, not as it is: what a package brings counts for dpkg as what nobody has edited, and the
    next package's would replace it unasked. Raises CabinetError.
    """
    conffiles = files / "DEBIAN/conffiles"
    for name in conffiles.read_text().splitlines() if conffiles.exists() else []:
        if not name.startswith("/"):
            continue
        shipped, packed = _AS_SHIPPED / name.lstrip("/"), files / name.lstrip("/")
        if not shipped.exists():
            raise CabinetError(f"{shipped}: is not there, and going back would need it: reinstall {PACKAGE} first")
        packed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(shipped, packed)


def _ended(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _mount(mounts: str, path: str) -> tuple[str, str]:
    """Where the last mount that `path` is in is mounted, and its options."""
    found, longest = ("/", "rw"), 0
    for line in mounts.splitlines():
        _, place, _, options, *_ = [*line.split(), "", "", "", ""]
        if (path + "/").startswith(place.rstrip("/") + "/") and len(place) >= longest:
            found, longest = (place, options), len(place)
    return found


def _without(fields: list[str], *names: str) -> list[str]:
    """The fields of a package's status, those of `names` and their further lines left out."""
    kept, keep = [], True
    for line in fields:
        if not line.startswith(" "):
            keep = line.partition(":")[0] not in names
        if keep and line:
            kept.append(line)
    return kept


def _as_service() -> list[str]:
    """The database is the service's: a file that root made beside it would lock the service out."""
    return ["setpriv", "--reuid=cabinet-service", "--regid=cabinet", "--clear-groups", "--"]


def _started(unit: str) -> list[str]:
    """What stands against it, also where it had used up its restarts."""
    _run(["systemctl", "reset-failed", unit], _COMMAND_WITHIN_S, check=False)
    return _problem(["systemctl", "start", unit])


def _shown(unit: str, name: str) -> str:
    return _run(["systemctl", "show", "--value", f"--property={name}", unit], _COMMAND_WITHIN_S, check=False).strip()


def _problem(command: list[str]) -> list[str]:
    try:
        _run(command, _COMMAND_WITHIN_S)
    except CabinetError as error:
        return [str(error)]
    return []


def _run(command: list[str], within_s: float, environment: dict[str, str] | None = None, check: bool = True) -> str:
    """What it says. Raises CabinetError with its own last line."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CabinetError(f"{' '.join(command[:6])}: {error}") from error
    if check and done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise CabinetError(f"{' '.join(command[:6])}: {last[0]}")
    return done.stdout
