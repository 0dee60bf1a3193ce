"""The computer that is updated: Debian's package tools, systemd and the product's own commands, each as a process."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

from cabinet.errors import CabinetError

PACKAGE = "cabinet"
COMMAND = "/usr/bin/cabinet"  # the installed version's, whichever that is; not this program's own
UNITS = ("cabinet-guard.service", "cabinet-service.service", "cabinet-console.service")
ALWAYS = UNITS[2:]  # runs without a configuration too
_INSTALL_WITHIN_S = 900  # an SD card at its end takes minutes
_COMMAND_WITHIN_S = 120
_POLL_S = 0.2
_INFO = Path("/var/lib/dpkg/info")
_AS_SHIPPED = Path("/usr/share/cabinet/as-shipped")
_SCRIPTS = ("postinst", "prerm", "postrm", "conffiles", "md5sums")


class Computer:
    """The one we run on; everything here needs root. `config` is the cabinet's configuration, which may be absent."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._units = UNITS if config.exists() else ALWAYS

    # --- what `watch` needs -----------------------------------------------------------------------------------------

    def boot_id(self) -> str:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def install(self, package: Path) -> None:
        """Raises CabinetError. Configuration files that were changed stay as they are."""
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
        _run(
            ["dpkg", "--install", "--force-downgrade", "--force-confold", "--force-confdef", str(package)],
            _INSTALL_WITHIN_S, environment,
        )  # fmt: skip

    def down(self) -> Sequence[str]:
        return [unit for unit in self._units if _shown(unit, "ActiveState") != "active"]

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
        _run(["systemctl", "stop", UNITS[1]], _COMMAND_WITHIN_S)
        _run(
            [*_as_service(), COMMAND, "store", "restore", str(backup), "--config", str(self._config)], _INSTALL_WITHIN_S
        )

    def start(self) -> None:
        # After what may have used up their restarts.
        for verb in ("reset-failed", "start"):
            _run(["systemctl", verb, *self._units], _COMMAND_WITHIN_S, check=verb == "start")

    # --- what comes before it ---------------------------------------------------------------------------------------

    def version(self) -> str:
        return _run(["dpkg-query", "--show", "--showformat=${Version}", PACKAGE], _COMMAND_WITHIN_S).strip()

    def installed_bytes(self) -> int:
        shown = _run(["dpkg-query", "--show", "--showformat=${Installed-Size}", PACKAGE], _COMMAND_WITHIN_S)
        return 1024 * int(shown)

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

    def read_only(self) -> bool:
        """Where the package's files are. As the computer's first process sees it: to a unit with ProtectSystem
        everything looks read-only.
        """
        try:
            return _is_read_only(Path("/proc/1/mounts").read_text(errors="replace"), "/usr")
        except OSError:
            return bool(os.statvfs("/usr").f_flag & os.ST_RDONLY)

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


def _is_read_only(mounts: str, path: str) -> bool:
    """By the last mount that `path` is in."""
    found = "rw"
    longest = 0
    for line in mounts.splitlines():
        _, place, _, options, *_ = [*line.split(), "", "", "", ""]
        if (path + "/").startswith(place.rstrip("/") + "/") and len(place) >= longest:
            found, longest = options, len(place)
    return "ro" in found.split(",")


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
