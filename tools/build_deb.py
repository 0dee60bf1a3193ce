"""Build the Debian package: `python tools/build_deb.py --arch amd64`, or arm64 from any machine (`make deb`).

The product and its locked dependencies (packaging/locked.txt) go into a virtual environment below /usr/lib/cabinet.
Wheels for the other platform are downloaded and nothing is compiled, so no emulator or cross compiler is needed. The
package includes Python's compiled files, because the root may be read-only and the first start must not be slow.
"""

import argparse
import gzip
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = ROOT / "packaging"
PYTHON = (3, 11)  # of Debian 12; wheels and compiled files are only for this version
PLATFORMS = {"amd64": "x86_64-manylinux_2_36", "arm64": "aarch64-manylinux_2_36"}
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
SCRIPTS = ("postinst", "prerm", "postrm")
LAUNCHER = """\
#!/{home}/bin/python3 -I
import sys

from cabinet.main import main

sys.exit(main())
"""
SETTINGS = """\
home = /usr/bin
include-system-site-packages = false
version = {python}
"""


class CannotBuild(Exception):
    """Error with one line that states the reason and the remedy."""


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
    if sys.version_info[:2] != PYTHON:
        raise CannotBuild(f"Python {PYTHON[0]}.{PYTHON[1]} is needed, as Debian 12 has it: make deb PYTHON=/path/to/it")
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
    """Make a virtual environment for the Python of the cabinet, not that of the build machine."""
    python = f"{PYTHON[0]}.{PYTHON[1]}"
    home = root / HOME
    packages = home / "lib" / f"python{python}" / "site-packages"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python3").symlink_to(f"/usr/bin/python{python}")
    (home / "pyvenv.cfg").write_text(SETTINGS.format(python=python))
    launcher = home / "bin" / "cabinet"
    launcher.write_text(LAUNCHER.format(home=HOME))
    launcher.chmod(0o755)
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/cabinet").symlink_to("../lib/cabinet/bin/cabinet")
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--link-mode", "copy"]
    uv += ["--target", str(packages), "--python-platform", PLATFORMS[arch], "--python-version", python]
    run(*uv, "--only-binary", ":all:", "--require-hashes", "-r", PACKAGING / "locked.txt")
    run(*uv, "--no-deps", wheel)
    shutil.rmtree(packages / "bin", ignore_errors=True)  # commands of the dependencies; the product has its launcher
    for leftover in (
        packages / ".lock",
        *packages.glob("*.dist-info/direct_url.json"),
        *packages.glob("*.dist-info/uv_*"),
    ):
        leftover.unlink(missing_ok=True)
    # Link to Debian's RPi.GPIO, if installed: it has no wheel, and pin_factory = "rpigpio" needs it.
    (packages / "RPi").symlink_to("/usr/lib/python3/dist-packages/RPi")
    run(
        sys.executable,
        "-m",
        "compileall",
        "-q",
        "-s",
        root,
        "-p",
        "/",
        "--invalidation-mode",
        "unchecked-hash",
        packages,
    )


def lay_out_files(root: Path, version: str) -> None:
    for pattern, target in FILES.items():
        found = sorted(ROOT.glob(pattern))
        if not found:
            raise CannotBuild(f"{pattern}: nothing there")
        for source in found:
            place = root / target / source.name if target.endswith("/") else root / target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
    for name in CONFFILES:
        copy = root / AS_SHIPPED / name.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name.lstrip("/"), copy)
    manual = root / "usr/share/man/man1/cabinet.1.gz"
    manual.parent.mkdir(parents=True)
    manual.write_bytes(gzip.compress(manual_page(version).encode(), mtime=0))
    doc = root / "usr/share/doc/cabinet"
    date = run("date", "-u", "-R", "-d", f"@{os.environ['SOURCE_DATE_EPOCH']}")
    entry = f"cabinet ({version}) bookworm; urgency=medium\n\n  * See CHANGELOG.md.\n\n"
    entry += f" -- Charging cabinet maintainers <maintainers@cabinet.example>  {date}"
    for name, text in (("changelog.gz", entry), ("CHANGELOG.md.gz", (ROOT / "CHANGELOG.md").read_text())):
        (doc / name).write_bytes(gzip.compress(text.encode(), mtime=0))


def manual_page(version: str) -> str:
    """Return the manual page, made from the same table as `cabinet --help`."""
    from cabinet.main import COMMANDS

    page = f'.TH CABINET 1 "" "cabinet {version}"\n.SH NAME\n'
    page += "cabinet \\- controller of a charging cabinet for electric bicycles\n"
    page += ".SH SYNOPSIS\n.B cabinet\n.I COMMAND\n[\\fIARGUMENTS\\fR]\n.SH COMMANDS\n"
    page += "".join(f".TP\n.B {name}\n{summary}\n" for name, summary in COMMANDS.items())
    page += ".SH SEE ALSO\nEach command explains itself: cabinet COMMAND \\-\\-help. "
    return page + "Documents are in /usr/share/doc/cabinet, operations.md first.\n"


def write_control(root: Path, arch: str, version: str) -> None:
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
        "python": f"{PYTHON[0]}.{PYTHON[1]}",
        "next_python": f"{PYTHON[0]}.{PYTHON[1] + 1}",
    }
    (control / "control").write_text((PACKAGING / "control.in").read_text().format(**fields))
    (control / "md5sums").write_text("\n".join(line for line in sums if "  etc/" not in line) + "\n")
    (control / "conffiles").write_text("\n".join(CONFFILES) + "\n")
    for name in SCRIPTS:
        shutil.copyfile(PACKAGING / name, control / name)
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


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise CannotBuild(f"{command[0]} failed (exit status {done.returncode})")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
