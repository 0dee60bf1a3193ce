"""A computer under the cabinet: its clock is a number, its programs are written down, its stick is a folder."""

import base64
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, cast

from nacl.signing import SigningKey

from cabinet.clock import ManualClock
from cabinet.errors import LinkError
from cabinet.system.steward.machine import Machine, StewardError
from cabinet.system.steward.requests import StewardRequests
from cabinet.system.steward.updates import InspectionContext
from cabinet.system.update.records import UpdateFolder

OURS, THEIRS = SigningKey(b"o" * 32), SigningKey(b"t" * 32)
KEYS = {OURS.verify_key: "maker"}

ADDRESSES = b"""[{"ifname":"lo","flags":["UP","LOWER_UP"],"address":"00:00:00:00:00:00","addr_info":[]},
{"ifname":"eth0","flags":["BROADCAST","UP","LOWER_UP"],"address":"02:00:00:00:00:01",
 "addr_info":[{"local":"192.0.2.7","prefixlen":24},{"local":"2001:db8::7","prefixlen":64}]},
{"ifname":"wlan0","flags":["BROADCAST","UP"],"address":"02:00:00:00:00:02","addr_info":[]}]"""
ROUTES = b'[{"dst":"default","gateway":"192.0.2.1","dev":"eth0"}]'


class FakeInstalledComputer:
    """Answers of Debian's tools; versions are compared as text."""

    def __init__(self) -> None:
        self.here = "0.1.0"
        self.changed: list[str] = []
        self.steps = 3
        self.fails: Exception | None = None

    def version(self) -> str:
        if self.fails:
            raise self.fails
        return self.here

    def architecture(self) -> str:
        return "arm64"

    def python(self) -> str:
        return "3.11"

    def installed_bytes(self) -> int:
        return 3000

    def is_newer(self, version: str, than: str) -> bool:
        return version > than

    def switched_off(self) -> bool:
        return False

    def comparing(self) -> Generator[None, None, Sequence[str]]:
        for _ in range(self.steps):
            yield
        return self.changed


class FakeComputer:
    """Computer with a number as its clock; programs are recorded instead of run."""

    def __init__(self, tmp_path: Path) -> None:
        self.clock_ms = 0
        self.ran: list[list[str]] = []
        self.charging = False
        self.gone = False
        self.mount_fails = ""
        for name in ("backups", "stick", "blocks/sda", "blocks/mmcblk0"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "blocks/sda/removable").write_text("1\n")
        (tmp_path / "blocks/mmcblk0/removable").write_text("0\n")
        (tmp_path / "resolv.conf").write_text("# made\nnameserver 192.0.2.53\n")
        self.backups, self.stick, self.mounts = tmp_path / "backups", tmp_path / "stick", tmp_path / "mounts"
        self.mounts.write_text(f"/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n/dev/sda1 {self.stick} vfat rw,sync 0 0\n")
        self.reading = tmp_path / "reading"
        self.machine = Machine(
            self.backups, self.run, self.set_clock, self.mounts, tmp_path / "blocks", tmp_path / "resolv.conf",
            tmp_path / "udev", self.reading,
        )  # fmt: skip
        self.clock = ManualClock()
        self.system = FakeInstalledComputer()
        self.records = UpdateFolder(tmp_path / "update")
        self.keys = tmp_path / "update-keys"
        self.keys.write_text(f"{base64.b64encode(bytes(OURS.verify_key)).decode()} maker\n")
        self.context = InspectionContext(
            self.machine, cast(Any, self.system), self.records, self.keys, "this", self.clock
        )
        self.steward = StewardRequests(self.context, self.anybody)

    def run(self, words: Sequence[str]) -> bytes:
        words = list(words)
        self.ran.append(words)
        if words[0] == "systemd-mount":
            self.mount(words)
        if words[:3] == ["systemctl", "--quiet", "stop"]:
            self.unmount()
        if words[:3] == ["ip", "-j", "address"]:
            return ADDRESSES
        return ROUTES if words[0] == "ip" else b""

    def set_clock(self, ms: int) -> None:
        self.clock_ms = ms

    def anybody(self) -> bool:
        if self.gone:
            raise LinkError("no guard answers")
        return self.charging

    def mount(self, words: Sequence[str]) -> None:
        """Mount the drive as systemd-mount does: its files appear at the mount point."""
        if self.mount_fails:
            raise StewardError(f"systemd-mount: {self.mount_fails}")
        assert list(words[-2:]) == ["/dev/sda1", str(self.reading)]
        self.reading.symlink_to(self.stick)

    def unmount(self) -> None:
        if not self.reading.is_symlink():
            raise StewardError("systemctl: Unit not loaded.")
        self.reading.unlink()

    def nobody_has_mounted_it(self, kind: str = "vfat", usage: str = "filesystem") -> None:
        self.mounts.write_text("/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n")
        for name, device in (("sda", "8:0"), ("sda1", "8:1"), ("mmcblk0p1", "179:1")):
            (self.machine.blocks / name).mkdir(exist_ok=True)
            (self.machine.blocks / name / "dev").write_text(f"{device}\n")
            (self.machine.udev).mkdir(exist_ok=True)
            (self.machine.udev / f"b{device}").write_text("E:ID_BUS=usb\n")
        (self.machine.udev / "b8:1").write_text(f"E:ID_FS_TYPE={kind}\nE:ID_FS_USAGE={usage}\n")

    def pull_out(self) -> None:
        """Remove the drive: its names and its mount point are gone."""
        self.stick.rename(self.stick.with_name("in a pocket"))
        self.reading.unlink(missing_ok=True)
