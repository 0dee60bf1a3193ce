"""One virtual machine: start, commands, and hard power-off."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

from vm.guests import CannotBuild, Guest
from vm.kernel import kernel

BOOT_WITHIN_S = 240.0
MEMORY_MIB = 1024
EMULATED = ("-accel", "tcg", "-icount", "shift=0,sleep=on")
PARAMETERS = "quiet panic=1 root=/dev/vda rw mitigations=off systemd.show_status=no"
BY_KVM = ("-accel", "kvm", "-cpu", "host,arch-capabilities=off")


class Said(NamedTuple):
    """Result of a command in the machine."""

    status: int
    out: str
    err: str


class Gone(Exception):
    """Error raised if the machine does not answer or is off."""


class Machine:
    """Debian under QEMU emulation.

    The machine's time counts its instructions, 1 ns each. While it idles, time passes as on the host, so waits for the
    disk have their real duration. If the machine is killed, flushed data is on its disk; other data may be lost.
    """

    def __init__(
        self,
        guest: Guest,
        disk: Path,
        folder: Path,
        *,
        stick: Path | None = None,
        wall: str = "",
        kvm: bool = False,
    ) -> None:
        """Start the machine with the kernel of `guest`.

        `stick`: a second disk, read-only. `wall`: clock at boot, such as 1970-01-01T00:00:10. If `kvm` is set, it uses
        the host's processor and time.
        """
        self.folder, self._disk = folder, disk
        folder.mkdir(parents=True, exist_ok=True)
        self._number = 0
        self._begun = time.monotonic()
        self._kept = b""
        agent, console = folder / "agent.sock", folder / "console.sock"
        for path in (agent, console):
            path.unlink(missing_ok=True)
        self.log = folder / "kernel.log"
        drives = ["-drive", f"file={disk},if=virtio,format={_format(disk)},cache=none,aio=threads"]
        if stick is not None:
            drives += ["-drive", f"file={stick},if=virtio,format=raw,readonly=on"]
        command = [
            guest.processor.qemu, *(BY_KVM if kvm else (*EMULATED, *guest.processor.machine)), "-smp", "1",
            "-m", str(MEMORY_MIB), "-nodefaults", "-display", "none",
            "-kernel", str(guest.folder / "kernel/boot" / f"vmlinuz-{kernel(guest).release}"),
            "-initrd", str(guest.folder / "initrd.cpio"),
            "-append", f"console={guest.processor.kernel_console} {PARAMETERS} {guest.processor.parameters}",
            "-serial", f"file:{self.log}",
            "-chardev", f"socket,id=console,path={console},server=on,wait=off", *guest.processor.port_device,
            "-device", "virtio-serial", "-chardev", f"socket,id=agent,path={agent},server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=agent",
            *drives,
        ]  # fmt: skip
        if wall:
            command += ["-rtc", f"base={wall},clock=vm"]
        self._qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=(folder / "qemu.log").open("a"))
        self._agent = self._connect(agent)
        self.console_path = console

    def _connect(self, path: Path) -> socket.socket:
        deadline = time.monotonic() + 10
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(path))
                return connection
            except OSError:
                connection.close()
                if self._qemu.poll() is not None or time.monotonic() > deadline:
                    raise CannotBuild(f"qemu did not start: {(self.folder / 'qemu.log').read_text()[-500:]}") from None
                time.sleep(0.05)

    def wait_up(self, within_s: float = BOOT_WITHIN_S) -> None:
        """Wait until the agent in it answers. Raises Gone if it does not in time."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                self._agent.sendall(b'{"hello": true}\n')
            if self._line(5.0) is not None:
                self._note("up")
                return
            if self._qemu.poll() is not None:
                break
        raise Gone(f"not up within {within_s:.0f} s; kernel: {self.log.read_text(errors='replace')[-800:]}")

    def run(self, command: str, within_s: float = 120.0, check: bool = True) -> Said:
        """Run a shell command as root in it. Raises Gone, and AssertionError if it fails and `check` is set."""
        self._number += 1
        asked = {"number": self._number, "run": command, "within_s": within_s}
        self._agent.sendall(json.dumps(asked).encode() + b"\n")
        deadline = time.monotonic() + 8 * within_s  # of the host's clock; the machine's clock is slower
        while time.monotonic() < deadline:
            line = self._line(deadline - time.monotonic())
            if line is not None and line.get("number") == self._number:
                said = Said(line["status"], line["out"], line["err"])
                self._note(f"exit status {said.status}: {command[:200]}")
                assert not check or said.status == 0, f"{command}: {said}"
                return said
        raise Gone(f"no answer to: {command}")

    def _note(self, text: str) -> None:
        """Log a command with its time, to analyse or follow a run."""
        with (self.folder / "commands.log").open("a") as log:
            log.write(f"{time.monotonic() - self._begun:.1f} s: {text}\n")

    def _line(self, within_s: float) -> dict[str, Any] | None:
        deadline = time.monotonic() + within_s
        while b"\n" not in self._kept:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return None
            self._agent.settimeout(left_s)
            try:
                data = self._agent.recv(65536)
            except TimeoutError:
                return None
            except OSError:
                data = b""
            if not data:
                raise Gone("the machine is off")
            self._kept += data
        line, self._kept = self._kept.split(b"\n", 1)
        try:
            found: dict[str, Any] = json.loads(line)
        except ValueError:
            return None
        return found

    def written_bytes(self) -> int:
        """Return the bytes written to its disk since its start."""
        return int(float(self.run("sync; awk '{print $7 * 512}' /sys/block/vda/stat").out))

    def disk_now(self, target: Path) -> None:
        """Copy the disk's file as a kill at this time would leave it; the machine continues afterwards."""
        self._qemu.send_signal(signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, self._qemu.pid, os.WSTOPPED | os.WNOWAIT)
            shutil.copy(self._disk, target)
        finally:
            self._qemu.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the machine like a power cut; a second call does nothing."""
        self._qemu.kill()
        self._qemu.wait()
        self._agent.close()

    def power_off(self) -> None:
        with contextlib.suppress(Gone, OSError, AssertionError):
            self.run("systemctl poweroff --no-block", 10)
            self._qemu.wait(timeout=180)
        self.kill()

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()


def _format(disk: Path) -> str:
    return "qcow2" if disk.suffix == ".qcow2" else "raw"


def overlay(disk: Path, target: Path) -> Path:
    """Make an overlay that starts as `disk` and does not change it. Return it."""
    target.unlink(missing_ok=True)
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(disk), "-F", _format(disk), str(target)]
    subprocess.run(command, check=True)
    return target


def flush(disk: Path) -> None:
    """Write the content of an overlay back to its base disk."""
    subprocess.run(["qemu-img", "commit", "-q", str(disk)], check=True)


os.environ.setdefault("QEMU_AUDIO_DRV", "none")
