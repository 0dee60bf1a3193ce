"""systemd in a container instead of a full machine: the same scenarios at the processor's own speed.

All of systemd is real: units, limits, watchdogs, and dpkg with the package's scripts. Kernel, bus and lines are not:
the simulator replaces the hardware, and the states of its coils replace the lines of the GPIO chip.
"""

import contextlib
import os
import subprocess
import time
from pathlib import Path

from bench.disk import device_bytes
from vm.archive import run
from vm.image import FILES
from vm.machine import Gone, Said

BOOT_WITHIN_S = 90.0
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}  # without the host's environment


def merged(system: Path, changes: Path, folder: Path) -> Path:
    """Mount `system` with `changes` over it, below `folder`. Return the mount."""
    place, work = folder / "merged", folder / "overlay"
    for path in (place, work, changes):
        path.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={system},upperdir={changes},workdir={work}", place)
    return place


class Container:
    """A container with the interface of `Machine`, on an overlay of `system`: all writes go to `changes`.

    `folder` and `changes` are on a separate disk.
    """

    def __init__(self, system: Path, changes: Path, folder: Path, stick: Path) -> None:
        self._changes = changes
        self._merged = merged(system, changes, folder)
        self._furnish()
        self.log = folder / "container.log"
        command = ["systemd-nspawn", "-D", str(self._merged), "--boot", "--register=no", "--keep-unit", "-q"]
        command += ["-M", "cabinet-bench", "--private-network", f"--bind-ro={stick}:/mnt/stick", "--console=pipe"]
        command += ["--capability=CAP_SYS_TIME"]  # to ask the kernel whether its clock is right
        # Control groups as on a Pi, also if the host has the older ones, which Debian 13 refuses.
        environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        self._nspawn = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=self.log.open("wb"), stderr=subprocess.STDOUT, env=environment
        )
        self._leader = 0

    def _furnish(self) -> None:
        """Replace the bench's units for a machine with those for a container."""
        bench, units = self._merged / "opt/bench", self._merged / "etc/systemd/system"
        text = (FILES / "cabinet.toml").read_text()
        for word, value in {"BUS": "sim", "PINS": "sim", "RUN": "/run/cabinet", "PORT": "pty"}.items():
            text = text.replace(f"@{word}@", value)
        for name in ("sim.toml", "cabinet.toml"):
            (bench / name).write_text(text)
        (bench / "mirror.py").write_text((FILES / "mirror.py").read_text())
        (bench / "phone.py").write_text((FILES / "phone.py").read_text())
        sim = (FILES / "bench-sim.service").read_text()
        (units / "bench-sim.service").write_text(sim.replace("LimitRTPRIO=90", "LimitRTPRIO=90\nUMask=0007"))
        hardware = (FILES / "bench-hardware.service").read_text()
        (units / "bench-hardware.service").write_text(hardware.replace("hardware.py", "mirror.py"))
        # An overlay cannot be mounted again with the options of /etc/fstab, and Debian 13 reports that as a failure.
        for name in (
            "bench-setup.service",
            "bench-agent.service",
            "console-getty.service",
            "systemd-remount-fs.service",
        ):
            mask = units / name
            mask.unlink(missing_ok=True)
            mask.symlink_to("/dev/null")

    def wait_up(self, within_s: float = BOOT_WITHIN_S) -> None:
        """Wait until systemd has started all units. Raises Gone if it has not in time."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline and self._nspawn.poll() is None:
            # Each time, because systemd-nspawn first has other children.
            found = subprocess.run(["pgrep", "-P", str(self._nspawn.pid)], capture_output=True, text=True, check=False)
            self._leader = int(found.stdout.split()[0]) if found.stdout else 0
            up = ("running", "degraded")
            if self._leader and self.run("systemctl is-system-running", check=False).out.strip() in up:
                return
            time.sleep(0.3)
        raise Gone(f"not up within {within_s:.0f} s: {self.log.read_text(errors='replace')[-800:]}")

    def run(self, command: str, within_s: float = 120.0, check: bool = True) -> Said:
        """Run a shell command as root in it. Raises AssertionError if it fails and `check` is set."""
        enter = ["nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "sh", "-c", command]
        try:
            done = subprocess.run(enter, capture_output=True, timeout=within_s, check=False, env=ENVIRONMENT)
        except subprocess.TimeoutExpired:
            done = subprocess.CompletedProcess(enter, 124, b"", f"longer than {within_s} s".encode())
        said = Said(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        assert not check or said.status == 0, f"{command}: {said}"
        return said

    def written_bytes(self) -> int:
        """Return the bytes written to the block device of `changes`."""
        self.run("sync")
        return device_bytes(self._changes)

    def power_off(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run("systemctl poweroff", 20, check=False)
            self._nspawn.wait(timeout=60)
        self.kill()

    def kill(self) -> None:
        """Kill all processes in it at once; a second call does nothing."""
        if self._nspawn.poll() is None:
            subprocess.run(["kill", "-9", str(self._leader or self._nspawn.pid)], check=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._nspawn.wait(timeout=20)
            self._nspawn.kill()
            self._nspawn.wait()
        subprocess.run(["umount", "-q", str(self._merged)], check=False)
