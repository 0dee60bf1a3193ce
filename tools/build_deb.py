"""Build the Debian package: `python tools/build_deb.py --arch amd64`, or arm64 from any machine (`make deb`).

One package is for every release (docs/decisions/0084): the product and its locked dependencies (packaging/locked.txt)
go into one folder below /usr/lib/cabinet, which a virtual environment of each release's Python uses. Nothing runs on
the other platform, so no emulator is needed, and any Debian with Python 3.11 or newer builds it.
"""

import argparse
import gzip
import hashlib
import itertools
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deb_packages import PLATFORMS, PYTHONS, lay_out_packages, run
from interpreters import CannotBuild

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = ROOT / "packaging"
HOME = Path("usr/lib/cabinet")

FILES = {
    "systemd/*.service": "usr/lib/systemd/system/",
    "systemd/*.timer": "usr/lib/systemd/system/",
    "systemd/*.path": "usr/lib/systemd/system/",
    "systemd/cabinet.sysusers": "usr/lib/sysusers.d/cabinet.conf",
    "systemd/cabinet.tmpfiles": "usr/lib/tmpfiles.d/cabinet.conf",
    "systemd/cabinet.modules": "usr/lib/modules-load.d/cabinet.conf",
    "systemd/cabinet.udev": "usr/lib/udev/rules.d/60-cabinet.rules",
    "systemd/cabinet-journald.conf": "usr/lib/systemd/journald.conf.d/cabinet.conf",
    "systemd/cabinet-watchdog.conf": "usr/lib/systemd/system.conf.d/cabinet.conf",
    "packaging/update-keys": "etc/cabinet/update-keys",
    "packaging/copyright": "usr/share/doc/cabinet/copyright",
    "packaging/lintian-overrides": "usr/share/lintian/overrides/cabinet",
    "cabinet/examples/cabinet.toml": "usr/share/doc/cabinet/examples/cabinet.toml",
    "docs/*.md": "usr/share/doc/cabinet/",
}
CONFFILES = ["/etc/cabinet/update-keys"]
AS_SHIPPED = "usr/share/cabinet/as-shipped"  # second copies, which `cabinet update` packs for a return to this version
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
LAUNCHER = """\
#!/{home}/bin/python3 -I
import sys

try:
    from {module} import main
except ModuleNotFoundError:
    sys.exit(f"{command}: needs Python {pythons}, and this is %d.%d" % sys.version_info[:2])

sys.exit(main())
"""
SETTINGS = """\
home = /usr/bin
include-system-site-packages = false
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the Debian package.")
    parser.add_argument("--arch", choices=sorted(PLATFORMS), default="amd64")
    parser.add_argument("--version", help="of the package (default: the product's)")
    parser.add_argument("--wheel", type=Path, help="the product's wheel (default: the one in dist/)")
    parser.add_argument("--into", type=Path, default=ROOT / "dist", metavar="FOLDER")
    args = parser.parse_args()
    try:
        print(build(args.arch, args.version or product_version(), args.wheel or the_wheel(), args.into))
    except CannotBuild as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def build(arch: str, version: str, wheel: Path, into: Path) -> Path:
    """Build the package and return its file. Raises CannotBuild."""
    if shutil.which("dpkg-deb") is None:
        raise CannotBuild("dpkg-deb is needed: it is on every Debian")
    os.umask(0o022)
    os.environ["SOURCE_DATE_EPOCH"] = str(date_of_source())  # the same source gives the same package
    root = ROOT / "build" / "deb" / arch
    shutil.rmtree(root, ignore_errors=True)
    make_environment(root, arch, wheel)
    lay_out_files(root, version)
    into.mkdir(parents=True, exist_ok=True)
    write_control(root, arch, version)
    target = into / f"cabinet_{version}_{arch}.deb"
    run("dpkg-deb", "--root-owner-group", "-Zxz", "-z2", "--build", root, target)
    return target


def make_environment(root: Path, arch: str, wheel: Path) -> None:
    """Make a virtual environment for the Pythons of the releases, not for that of the build machine.

    It may be moved: `cabinet update` keeps a copy of the old version elsewhere, and runs it there.
    """
    make_launcher(root, HOME, "cabinet", "cabinet.main")
    packages = root / HOME / "packages"
    lay_out_packages(packages, arch, wheel)
    # Link to Debian's RPi.GPIO, if installed: it has no wheel, and pin_factory = "rpigpio" needs it.
    (packages / "RPi").symlink_to("/usr/lib/python3/dist-packages/RPi")


def make_launcher(root: Path, home: Path, command: str, module: str) -> None:
    """Make the environment below `home`, and its command, also in /usr/bin."""
    (root / home / "bin").mkdir(parents=True)
    (root / home / "bin" / "python3").symlink_to("/usr/bin/python3")
    (root / home / "pyvenv.cfg").write_text(SETTINGS)
    for python in PYTHONS:
        folder = root / home / "lib" / f"python{python}" / "site-packages"
        folder.mkdir(parents=True)
        (folder / f"{command}.pth").write_text("../../../packages\n")
    launcher = root / home / "bin" / command
    pythons = " or ".join(PYTHONS)
    launcher.write_text(LAUNCHER.format(home=home, command=command, module=module, pythons=pythons))
    launcher.chmod(0o755)
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin" / command).symlink_to(f"../lib/{home.name}/bin/{command}")


def copy_files(root: Path, files: Mapping[str, str]) -> None:
    """Copy files of the source, by pattern, to their folder or under their new name. Raises CannotBuild."""
    for pattern, target in files.items():
        found = sorted(ROOT.glob(pattern))
        if not found:
            raise CannotBuild(f"{pattern}: nothing there")
        for source in found:
            place = root / target / source.name if target.endswith("/") else root / target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)


def lay_out_files(root: Path, version: str) -> None:
    copy_files(root, FILES)
    for name in CONFFILES:
        copy = root / AS_SHIPPED / name.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name.lstrip("/"), copy)
    manual = root / "usr/share/man/man1/cabinet.1.gz"
    manual.parent.mkdir(parents=True)
    manual.write_bytes(gzip.compress(manual_page(version).encode(), mtime=0))
    doc = root / "usr/share/doc/cabinet"
    date = run("date", "-u", "-R", "-d", f"@{os.environ['SOURCE_DATE_EPOCH']}")
    entry = f"cabinet ({version}) {' '.join(PYTHONS.values())}; urgency=medium\n\n  * See CHANGELOG.md.\n\n"
    entry += f" -- Charging cabinet maintainers <maintainers@cabinet.example>  {date}"
    for name, text in (("changelog.gz", entry), ("CHANGELOG.md.gz", (ROOT / "CHANGELOG.md").read_text())):
        (doc / name).write_bytes(gzip.compress(text.encode(), mtime=0))


def manual_page(version: str) -> str:
    """Return the manual page, made from the same table as `cabinet --help`."""
    from cabinet.main import COMMANDS

    head = "cabinet \\- controller of a charging cabinet for electric bicycles"
    return manual_of("cabinet", version, head, COMMANDS, "/usr/share/doc/cabinet, operations.md first")


def manual_of(command: str, version: str, head: str, commands: Mapping[str, str], documents: str) -> str:
    """Return a manual page with a table of sub-commands. Pure."""
    page = f'.TH {command.upper()} 1 "" "{command} {version}"\n.SH NAME\n{head}\n'
    page += f".SH SYNOPSIS\n.B {command}\n.I COMMAND\n[\\fIARGUMENTS\\fR]\n.SH COMMANDS\n"
    page += "".join(f".TP\n.B {name}\n{summary}\n" for name, summary in commands.items())
    page += f".SH SEE ALSO\nEach command explains itself: {command} COMMAND \\-\\-help. "
    return page + f"Documents are in {documents}.\n"


def python_dependency(pythons: Iterable[str]) -> str:
    """Return the dependency on one of these versions of Python, in ascending order, in the form dpkg has for it. Pure.

    Each version has its `>=`: `make_bundle.py` reads them.
    """
    minors = [int(python.removeprefix("3.")) for python in pythons]
    between = [f"python3 (<< 3.{here + 1}~) | python3 (>= 3.{after}~)" for here, after in itertools.pairwise(minors)]
    return ", ".join([f"python3 (>= 3.{minors[0]}~)", *between, f"python3 (<< 3.{minors[-1] + 1}~)"])


def write_control(
    root: Path, arch: str, version: str, packaging: Path = PACKAGING, conffiles: Sequence[str] = CONFFILES
) -> None:
    control = root / "DEBIAN"
    installed = [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}" for path in installed]
    for path in installed:
        path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR and path.read_bytes()[:2] == b"#!" else 0o644)
    control.mkdir()
    fields = {
        "version": version,
        "architecture": arch,
        "installed_kib": sum(path.stat().st_size for path in installed) // 1024,
        "pythons": python_dependency(PYTHONS),
    }
    (control / "control").write_text((packaging / "control.in").read_text().format(**fields))
    (control / "md5sums").write_text("\n".join(line for line in sums if "  etc/" not in line) + "\n")
    if conffiles:
        (control / "conffiles").write_text("\n".join(conffiles) + "\n")
    for name in SCRIPTS:
        shutil.copyfile(packaging / name, control / name)
        (control / name).chmod(0o755)


def product_version() -> str:
    found = re.search(r'__version__ = "(.+)"', (ROOT / "cabinet/__init__.py").read_text())
    assert found is not None  # setup.cfg reads it from there too
    return found[1]


def the_wheel() -> Path:
    wheel = ROOT / "dist" / f"cabinet-{product_version()}-py3-none-any.whl"
    if not wheel.exists():
        raise CannotBuild(f"{wheel}: is not there: make wheel")
    return wheel


def date_of_source() -> int:
    """Return the time of the last commit, or of this file if there is no repository."""
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 and done.stdout else int(Path(__file__).stat().st_mtime)


if __name__ == "__main__":
    sys.exit(main())
