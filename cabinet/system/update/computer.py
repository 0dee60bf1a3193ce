"""Computer under update: Debian's package tools, systemd and the product's own commands, each as a process."""

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
from typing import Literal, TypeVar

from cabinet.errors import CabinetError, os_error_at

T = TypeVar("T")

PACKAGE = "cabinet"
COMMAND = "/usr/bin/cabinet"  # command of the installed version, not of this program
SERVICE = "cabinet-service.service"
ALWAYS = ("cabinet-steward.service", "cabinet-console.service")  # these run without a configuration too
# Prefix for a command of the service's account: a file of root next to its database would lock it out.
AS_SERVICE = ("setpriv", "--reuid=cabinet-service", "--regid=cabinet", "--clear-groups", "--")
UNITS = ("cabinet-guard.service", SERVICE, *ALWAYS)
WATCHER = "cabinet-update.service"
_INSTALL_WITHIN_S = 900  # a worn-out SD card takes minutes
_COMMAND_WITHIN_S = 120
_POLL_S = 0.2
_LOCK = Path("/var/lib/dpkg/lock-frontend")
_LOCK_TRIES = 600
_LOCK_EVERY_S = 1.0
_WRITTEN = ("/usr", "/etc", "/var/lib/dpkg")  # written by an installation
_INFO = Path("/var/lib/dpkg/info")
_SWITCHED_OFF = (
    Path("/run/cabinet/everything-off"),
    Path("/var/lib/cabinet/failsafe/everything-off"),
)  # created by cabinet-failsafe
_AS_SHIPPED = Path("/usr/share/cabinet/as-shipped")
_SCRIPTS = ("postinst", "prerm", "postrm", "conffiles", "md5sums")


class Computer:
    """This computer; every method needs root. `config` is the cabinet's configuration, which may be absent.

    Except where a method says otherwise, a failure raises CabinetError.
    """

    def __init__(self, config: Path, wait: Callable[[float], None] = time.sleep) -> None:
        self._config = config
        self._wait = wait
        self._units = UNITS if config.exists() else ALWAYS

    # --- operations for `watch` -------------------------------------------------------------------------------------

    def boot_id(self) -> str:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    @contextlib.contextmanager
    def package_tools(self) -> Iterator[None]:
        """Hold the lock of dpkg, which does not wait for another installer itself. Waits as apt does: ten minutes."""
        with os_error_at(_LOCK):
            lock = _LOCK.open("w")
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
        """Install the package, with `package_tools` held, and start the units; changed configuration files stay."""
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C", "DPKG_FRONTEND_LOCKED": "1"}
        _run(
            ["dpkg", "--install", "--force-downgrade", "--force-confold", "--force-confdef", str(package)],
            _INSTALL_WITHIN_S, environment,
        )  # fmt: skip

    def is_whole(self, version: str) -> bool:
        """Return whether that version is completely installed, with every file unchanged."""
        asked = ["dpkg-query", "--show", "--showformat=${Status} ${Version}", PACKAGE]
        shown = _run(asked, check=False).strip()
        return shown == f"install ok installed {version}" and not run_to_end(self.comparing())

    def read_only_places(self) -> Sequence[str]:
        """Return the read-only file systems of those an installation writes to. Reads the mounts of the first process:
        in a unit with ProtectSystem every file system appears read-only.
        """
        with os_error_at("/proc/1/mounts", ": run this as root"):
            mounts = Path("/proc/1/mounts").read_text(errors="replace")
        found = (_mount(mounts, path) for path in _WRITTEN)
        return list(dict.fromkeys(place for place, options in found if "ro" in options.split(",")))

    def remount(self, place: str, how: Literal["rw", "ro"]) -> None:
        """Remount a file system read-write or read-only."""
        _run(["mount", "-o", f"remount,{how}", place])

    def down(self) -> Sequence[str]:
        """Return the units that should run and do not."""
        found = [unit for unit in self._units if _shown(unit, "ActiveState") != "active"]
        return [unit for unit in found if unit not in UNITS[:1]] if found and self.switched_off() else found

    def restarted(self) -> Sequence[str]:
        """Return the units that restarted. A start on request, as by an installation, resets the count of systemd."""
        return [unit for unit in self._units if _shown(unit, "NRestarts") not in ("", "0")]

    def self_test(self) -> Sequence[str]:
        """Return the problems the installed version finds with itself, its configuration and its database."""
        if not self._config.exists():
            return _problem([COMMAND, "--version"])
        found = _problem([COMMAND, "check", "--any-computer", str(self._config)])
        if not found and self.has_database():
            found = _problem(self._store("check"))
        return found

    def schema(self) -> int | None:
        """Return the schema version of the database; None if no database can be read.

        It is read from the file itself: this program may be older than the file's contents.
        """
        code = (
            "import contextlib, sqlite3, sys\n"
            "with contextlib.closing(sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)) as found:\n"
            "    print(found.execute('SELECT max(version) FROM schema_migration').fetchone()[0])\n"
        )
        try:
            return int(_run([*AS_SERVICE, sys.executable, "-I", "-c", code, str(self._database())]))
        except (CabinetError, ValueError):
            return None

    def restore(self, backup: Path) -> None:
        """Stop the service, replace the database with `backup`, keep the old one next to it."""
        _run(["systemctl", "stop", SERVICE])
        _run(self._store("restore", str(backup)), _INSTALL_WITHIN_S)

    def start(self) -> Sequence[str]:
        """Start every unit, even if another fails. Return the failures."""
        found: list[str] = []
        for unit in self._units:
            found += _started(unit)
        return found

    # --- preparation ------------------------------------------------------------------------------------------------

    def start_watcher(self) -> None:
        """Start the watcher unit. Raises CabinetError."""
        if problems := _started(WATCHER):
            raise CabinetError(problems[0])

    def watcher_gave_up(self) -> str:
        """Return systemd's state of the watcher unit if it no longer works on the update; "" while it does."""
        state, step = _shown(WATCHER, "ActiveState"), _shown(WATCHER, "SubState")
        return step if state in ("inactive", "failed") or step.startswith("auto-restart") else ""

    def sync(self) -> None:
        """Flush all written data to disk."""
        os.sync()

    def version(self) -> str:
        return _run(["dpkg-query", "--show", "--showformat=${Version}", PACKAGE]).strip()

    def installed_bytes(self) -> int:
        shown = _run(["dpkg-query", "--show", "--showformat=${Installed-Size}", PACKAGE])
        return 1024 * int(shown)

    def switched_off(self) -> bool:
        """Return whether staff keep everything off: then no guard of any version runs."""
        return any(file.exists() for file in _SWITCHED_OFF)

    def architecture(self) -> str:
        return _run(["dpkg", "--print-architecture"]).strip()

    def python(self) -> str:
        return ".".join(platform.python_version_tuple()[:2])

    def is_newer(self, version: str, than: str) -> bool:
        done = subprocess.run(["dpkg", "--compare-versions", version, "gt", than], check=False)
        return done.returncode == 0

    def comparing(self) -> Generator[None, None, Sequence[str]]:
        """Return the changed files of the installed package, except its configuration.

        Every file is read, which takes seconds: yields five times a second until done. If the caller closes the
        generator early, nothing is left running.
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
        """Return the number of running charges; None if unknown."""
        if not (self._config.exists() and self.has_database()):
            return 0
        try:
            return int(_run(self._store("running")))
        except (CabinetError, ValueError):
            return None

    def has_database(self) -> bool:
        return self._database().exists()

    def back_up(self) -> str:
        """Back up the database, apart from the seven backups kept; return the path, "" if there is no database."""
        if not (self._config.exists() and self.has_database()):
            return ""
        return _run(self._store("backup", "--before-update"), _INSTALL_WITHIN_S).strip()

    def pack_installed(self, files: Path, package: Path) -> None:
        """Save the installed version as files and, again, as a package. Raises CabinetError."""
        shutil.rmtree(files, ignore_errors=True)
        for listed in _run(["dpkg-query", "--listfiles", PACKAGE]).splitlines():
            source, target = Path(listed), files / listed.lstrip("/")
            if source.is_symlink() or source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
            elif source.is_dir():
                target.mkdir(parents=True, exist_ok=True)
        control = files / "DEBIAN"
        control.mkdir()
        fields = _run(["dpkg-query", "--status", PACKAGE]).splitlines()
        (control / "control").write_text("\n".join(_without(fields, "Status", "Conffiles")) + "\n")
        for name in _SCRIPTS:
            source = _INFO / f"{PACKAGE}.{name}"
            if source.exists():
                shutil.copy2(source, control / name)
        _pack_conffiles(files)
        _run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(files), str(package)], _INSTALL_WITHIN_S
        )

    def _store(self, *words: str) -> list[str]:
        """Return the installed version's command `cabinet store`, run as the service."""
        return [*AS_SERVICE, COMMAND, "store", *words, "--config", str(self._config)]

    def _database(self) -> Path:
        from cabinet import config

        try:
            return Path(config.load(self._config).paths.state) / "cabinet.db"
        except CabinetError:
            return Path("/var/lib/cabinet/cabinet.db")


def run_to_end(steps: Generator[object, None, T]) -> T:
    """Run all steps and return their result, for a caller with nothing else to do meanwhile."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def _pack_conffiles(files: Path) -> None:
    """Pack each configuration file as shipped, not as it is: dpkg treats the contents of a package as unedited, and the
    next package would replace them without asking. Raises CabinetError.
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
    """Return mount point and options of the last mount that contains `path`."""
    found, longest = ("/", "rw"), 0
    for line in mounts.splitlines():
        _, place, _, options, *_ = [*line.split(), "", "", "", ""]
        if (path + "/").startswith(place.rstrip("/") + "/") and len(place) >= longest:
            found, longest = (place, options), len(place)
    return found


def _without(fields: list[str], *names: str) -> list[str]:
    """Return the fields of a package's status without those of `names` and their continuation lines."""
    kept, keep = [], True
    for line in fields:
        if not line.startswith(" "):
            keep = line.partition(":")[0] not in names
        if keep and line:
            kept.append(line)
    return kept


def _started(unit: str) -> list[str]:
    """Start a unit, even if it has used up its restarts; return the problem, if any."""
    _run(["systemctl", "reset-failed", unit], check=False)
    return _problem(["systemctl", "start", unit])


def _shown(unit: str, name: str) -> str:
    return _run(["systemctl", "show", "--value", f"--property={name}", unit], check=False).strip()


def _problem(command: list[str]) -> list[str]:
    try:
        _run(command)
    except CabinetError as error:
        return [str(error)]
    return []


def _run(
    command: list[str],
    within_s: float = _COMMAND_WITHIN_S,
    environment: dict[str, str] | None = None,
    check: bool = True,
) -> str:
    """Run a command and return its output. Raises CabinetError with the last line of its output."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CabinetError(f"{' '.join(command[:6])}: {error}") from error
    if check and done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise CabinetError(f"{' '.join(command[:6])}: {last[0]}")
    return done.stdout
