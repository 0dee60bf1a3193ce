"""The second disk: the packages to test, uncompressed because the emulated processor is slow, and bundles."""

import base64
import shutil
from pathlib import Path

from nacl.signing import SigningKey

from cabinet.system.update import bundle
from vm.archive import run
from vm.guests import CannotBuild, Guest
from vm.image import make_disk

KEY = SigningKey(b"of the test bed, and of no cabinet"[:32])
STICK_MIB = 1024


def make(package: Path, guest: Guest) -> Path:
    """Build a disk image with the package, the same as a newer version, one with a guard that fails, and bundles."""
    if not package.exists():
        raise CannotBuild(f"{package}: is not there: make deb")
    folder, disk = guest.folder / "stick", guest.folder / "stick.raw"
    mark = folder / "made-of"
    if disk.exists() and mark.exists() and mark.read_text() == bundle.sha256_of(package):
        return disk
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tree = guest.folder / "repacked"
    shutil.rmtree(tree, ignore_errors=True)
    run("dpkg-deb", "--raw-extract", package, tree)
    (version,) = [line.split()[1] for line in _control(tree).splitlines() if line.startswith("Version:")]
    _pack(tree, version, version, folder / "present.deb")
    newer = f"{version}+newer"
    _pack(tree, version, newer, folder / "newer.deb")
    # A new version with a guard that never starts, as after a programming mistake.
    unit = tree / "usr/lib/systemd/system/cabinet-guard.service"
    unit.write_text(unit.read_text().replace("cabinet guard --config", "cabinet guard --no-such-option --config"))
    _pack(tree, version, f"{version}+worse", folder / "worse.deb")
    for name, its_version in (("newer", newer), ("worse", f"{version}+worse")):
        deb = folder / f"{name}.deb"
        manifest = bundle.Manifest(
            format=bundle.FORMAT, version=its_version, architecture=guest.processor.arch, python="3.11 3.13",
            size=deb.stat().st_size, sha256=bundle.sha256_of(deb),
        )  # fmt: skip
        bundle.write(folder / f"{name}.bundle", deb, manifest, KEY)
        deb.unlink() if name == "worse" else None
    (folder / "update-keys").write_text(f"{base64.b64encode(bytes(KEY.verify_key)).decode()} test bed\n")
    mark.write_text(bundle.sha256_of(package))
    make_disk(folder, disk, STICK_MIB)
    shutil.rmtree(tree)
    return disk


def _control(tree: Path) -> str:
    return (tree / "DEBIAN/control").read_text()


def _pack(tree: Path, old: str, new: str, target: Path) -> None:
    control = _control(tree)
    (tree / "DEBIAN/control").write_text(control.replace(f"Version: {old}\n", f"Version: {new}\n"))
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, target)
    (tree / "DEBIAN/control").write_text(control)
