"""The disk as a power cut would leave it, at random times of one machine's charges, checked without a boot."""

import json
import subprocess
import sys
import time
from pathlib import Path

from vm import money
from vm.archive import run as shell
from vm.harness import CARD, CODES, PIN, VmHarness
from vm.image import FILES
from vm.machine import Machine

PROMISE = "the disk of a machine killed at starts, charges and stops: mounts, no session lost, none billed twice"
BEFORE = "charging"
VISITS = f"/opt/bench/visits.sh {CARD} {PIN} {CODES[1]}"
MAX_GAP_S = 3.0  # of the host's clock, between two images


def run(harness: VmHarness) -> None:
    machine = harness.machine
    assert isinstance(machine, Machine)
    harness.charging()
    harness.run(f"(setsid {VISITS} > /dev/null 2>&1 &)")
    folder = machine.folder / "image"
    folder.mkdir(exist_ok=True)
    done, seen = 0, set[str]()
    try:
        while not harness.enough(done):
            time.sleep(harness.random.uniform(0, MAX_GAP_S))
            seen |= set(harness.run("cat /run/bench/seen 2>/dev/null || true").split())
            machine.disk_now(folder / "now.qcow2")
            _look(harness, folder, seen)
            done += 1
    finally:
        harness.measured("disks looked at", done, "")
        harness.measured("sessions that residents had seen", len(seen), "")
    harness.shows("residents came and went meanwhile", len(seen) > 1)


def _look(harness: VmHarness, folder: Path, seen: set[str]) -> None:
    """Mount the image, which replays the file system's journal, and run the product's commands on it."""
    raw, mounted, config = folder / "now.raw", folder / "mounted", folder / "cabinet.toml"
    mounted.mkdir(exist_ok=True)
    shell("qemu-img", "convert", "-O", "raw", folder / "now.qcow2", raw)
    shell("mount", "-o", "loop", raw, mounted)
    try:
        text = (mounted / "etc/cabinet/cabinet.toml").read_text()
        run_folder = 'run = "/run/cabinet"'
        assert run_folder in text
        state = mounted / "var/lib/cabinet"
        config.write_text(text.replace(run_folder, f'run = "{folder}"\nstate = "{state}"'))
        commands = [f"{command} --config {config}" for command in money.ASKED]
        said = subprocess.run(
            [sys.executable, FILES / "several.py", *commands], capture_output=True, text=True, check=True
        )
        harness.shows_once("every disk mounts", True)
        money.check(harness, json.loads(said.stdout), seen)
    finally:
        shell("umount", mounted)
    harness.shows_once("every file system is whole after its journal (e2fsck)", _whole(raw))


def _whole(raw: Path) -> bool:
    return subprocess.run(["e2fsck", "-fn", raw], capture_output=True, check=False).returncode == 0
