"""Build the Debian package of the fleet: `python tools/build_fleet_deb.py --arch amd64`, or arm64 (`make fleet-deb`).

As the cabinet's (tools/build_deb.py), with its own home, user, units and locked versions: packaging/fleet/.
"""

import argparse
import gzip
import os
import shutil
import sys
from pathlib import Path

import build_deb
from build_deb import date_of_source, product_version, the_wheel
from deb_packages import PLATFORMS, CannotBuild, lay_out_packages, run

ROOT = build_deb.ROOT
PACKAGING = ROOT / "packaging" / "fleet"
HOME = Path("usr/lib/cabinet-fleet")
FILES = {
    "systemd/fleet/*.service": "usr/lib/systemd/system/",
    "systemd/fleet/*.path": "usr/lib/systemd/system/",
    "systemd/fleet/cabinet-fleet.sysusers": "usr/lib/sysusers.d/cabinet-fleet.conf",
    "systemd/fleet/cabinet-fleet.tmpfiles": "usr/lib/tmpfiles.d/cabinet-fleet.conf",
    "packaging/copyright": "usr/share/doc/cabinet-fleet/copyright",
    "docs/fleet.md": "usr/share/doc/cabinet-fleet/fleet.md",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the Debian package of the fleet.")
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
    os.environ["SOURCE_DATE_EPOCH"] = str(date_of_source())
    root = ROOT / "build" / "fleet-deb" / arch
    shutil.rmtree(root, ignore_errors=True)
    build_deb.make_launcher(root, HOME, "fleet", "fleet.main")
    lay_out_packages(root / HOME / "packages", arch, wheel, PACKAGING / "locked.txt", PACKAGING / "left-out.txt")
    build_deb.copy_files(root, FILES)
    manual = root / "usr/share/man/man1/fleet.1.gz"
    manual.parent.mkdir(parents=True)
    manual.write_bytes(gzip.compress(manual_page(version).encode(), mtime=0))
    into.mkdir(parents=True, exist_ok=True)
    build_deb.write_control(root, arch, version, PACKAGING, conffiles=[])
    target = into / f"cabinet-fleet_{version}_{arch}.deb"
    run("dpkg-deb", "--root-owner-group", "-Zxz", "-z2", "--build", root, target)
    return target


def manual_page(version: str) -> str:
    """Return the manual page, made from the same table as `fleet --help`."""
    from fleet.main import COMMANDS

    head = "fleet \\- property companies' charging cabinets, residents and money in one place"
    return str(build_deb.manual_of("fleet", version, head, COMMANDS, "/usr/share/doc/cabinet-fleet/fleet.md"))


if __name__ == "__main__":
    sys.exit(main())
