"""Removable drives, mounted or not: the one to write to, and all to read from."""

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from cabinet.system.steward.machine import Machine, StewardError

log = logging.getLogger(__name__)

_DISK = re.compile(r"/dev/((?:sd[a-z]+|mmcblk\d+|nvme\d+n\d+))(?:p?\d+)?")
# File systems that a stick may have, and the options to read each without writing a byte: ext4 would clean its journal.
READ_ONLY = {
    "vfat": "ro", "exfat": "ro", "ext4": "ro,noload", "ext3": "ro,noload", "ext2": "ro",
}  # fmt: skip
WRITABLE = dict.fromkeys(READ_ONLY, "rw")
_SYSTEM = ("/", "/boot", "/boot/firmware")
# A link on a stick may point into this computer. The code follows none even with these options: the stick may have
# been mounted by another program.
_HARMLESS = "nosuid,nodev,noexec,nosymfollow"


class UsbDrive(msgspec.Struct, frozen=True):
    """One drive. `place`: its mount point; None if it is not mounted, then `kind` is its file system."""

    device: str
    place: Path | None
    options: tuple[str, ...] = ()
    kind: str = ""


def drive_for_backup(machine: Machine) -> UsbDrive:
    """Return the removable drive to write to. Raises StewardError if there is none, or more than one.

    A drive that is not mounted was plugged in for this; a mounted one may be for the nightly backups.
    """
    found = [stick for stick in find_drives(machine) if stick.place is None or "rw" in stick.options]
    found = [stick for stick in found if stick.place is None] or found
    if not found:
        raise StewardError("no removable drive that can be written: plug one in", "no_drive")
    if len(found) > 1:
        there = ", ".join(str(stick.place or stick.device) for stick in found)
        raise StewardError(f"several removable drives are there ({there}): leave one", "drives", there=there)
    return found[0]


def find_drives(machine: Machine) -> list[UsbDrive]:
    """Return every removable drive with a file system, the mounted ones first."""
    lines = _lines(machine)
    in_use, system = {device for device, *_ in lines}, _system(lines)
    found = {stick.device: stick for stick in _mounted(machine, lines, system)}
    for block in sorted(machine.blocks.glob("*")):
        device = f"/dev/{block.name}"
        disk = _DISK.fullmatch(device)
        if disk is None or device in in_use or disk[1] in system or not _is_removable(machine.blocks / disk[1]):
            continue
        if kind := _file_system(machine, block):
            found[device] = UsbDrive(device, None, kind=kind)
    return list(found.values())


@contextlib.contextmanager
def mounted(machine: Machine, stick: UsbDrive, kinds: Mapping[str, str] = READ_ONLY) -> Iterator[Path]:
    """Yield the path of the stick. If it is not mounted, mount it meanwhile with the options of its kind.

    systemd mounts it, because the steward itself may mount nothing; afterwards it may be pulled out. Raises
    StewardError.
    """
    if stick.place is not None:
        yield stick.place
        return
    if stick.kind not in kinds:
        text = f"{stick.device}: has {stick.kind}; make it FAT, exFAT or ext4"
        raise StewardError(text, "drive_kind", device=stick.device, kind=stick.kind)
    options = f"{kinds[stick.kind]},{_HARMLESS}"
    try:
        machine.run([
            "systemd-mount", "--quiet", "--no-ask-password", "--collect", "--automount=no", "--fsck=no",
            f"--type={stick.kind}", f"--options={options}", stick.device, str(machine.reading),
        ])  # fmt: skip
        yield machine.reading
    finally:
        unmount(machine)


def unmount_leftover(machine: Machine) -> None:
    """Unmount a stick that an earlier steward, killed while reading, has left mounted."""
    if any(place == str(machine.reading) for _, place, *_ in _lines(machine)):
        unmount(machine)


def unmount(machine: Machine) -> None:
    """Unmount the stick mounted here, or cancel a mount that is still pending."""
    try:
        machine.run(["systemctl", "--quiet", "stop", f"{str(machine.reading).strip('/').replace('/', '-')}.mount"])
    except StewardError as error:
        log.warning("%s", error)  # a stick that was pulled out is gone already


def _mounted(machine: Machine, lines: list[tuple[str, str, str, str]], system: set[str]) -> list[UsbDrive]:
    """Return the mounted removable drives, except a disk that the system runs from, by any connection."""
    found: dict[tuple[str, str], UsbDrive] = {}  # one mount may be listed twice: a unit's /media is a copy
    for device, place, kind, options in lines:
        disk = _DISK.fullmatch(device)
        if disk is None or disk[1] in system or place == str(machine.reading):
            continue
        if _is_removable(machine.blocks / disk[1]):
            where = Path(place.replace("\\040", " "))
            found[device, place] = UsbDrive(device, where, tuple(options.split(",")), kind)
    return list(found.values())


def _lines(machine: Machine) -> list[tuple[str, str, str, str]]:
    """Return device, mount point, file system and options of every mount."""
    lines = (line.split() for line in machine.mounts.read_text(errors="replace").splitlines())
    return [(words[0], words[1], words[2], words[3]) for words in lines if len(words) > 3]


def _system(lines: list[tuple[str, str, str, str]]) -> set[str]:
    """Return the disks that the system runs from."""
    disks = (_DISK.fullmatch(device) for device, place, *_ in lines if place in _SYSTEM)
    return {disk[1] for disk in disks if disk is not None}


def _is_removable(block: Path) -> bool:
    """Return whether the disk is removable: a stick reports it; a disk in a USB case does not, but its path has USB."""
    try:
        said = (block / "removable").read_text().strip()
    except OSError:
        return False
    return said == "1" or "/usb" in str(block.resolve())


def _file_system(machine: Machine, block: Path) -> str:
    """Return the file system found by udev; empty if there is none (for example a whole disk with partitions)."""
    try:
        known = (machine.udev / f"b{(block / 'dev').read_text().strip()}").read_text(errors="replace")
    except OSError:
        return ""
    facts = dict(line[2:].split("=", 1) for line in known.splitlines() if line.startswith("E:") and "=" in line)
    return facts.get("ID_FS_TYPE", "") if facts.get("ID_FS_USAGE") == "filesystem" else ""
