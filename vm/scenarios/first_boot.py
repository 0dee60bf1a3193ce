"""The first boot of a machine with the package installed and no configuration."""

from vm.harness import VmHarness

PROMISE = "without a configuration everything is off and only the console runs; devices are those of a Pi"
BEFORE = "installed"
LEAVES = "booted"


def run(harness: VmHarness) -> None:
    harness.machine.run("systemctl is-system-running --wait", check=False)  # until the boot has ended
    for device in ("/dev/gpiochip0", "/dev/i2c-1", "/dev/watchdog", harness.guest.processor.port):
        harness.shows(f"the machine has {device}", harness.ok(f"test -e {device}"))
    harness.shows_not_commissioned()
    harness.shows("no relay's line is high", harness.ok(harness.all_open()))
    rights = harness.run("stat -c '%U:%G %a' /dev/gpiochip0 /dev/i2c-1").split("\n")
    harness.shows("udev rules: devices belong to gpio and i2c", rights[:2] == ["root:gpio 660", "root:i2c 660"])
    filtered = "systemd-run -q --wait --pipe -p MemoryDenyWriteExecute=yes -p SystemCallArchitectures=native"
    harness.shows(
        "callbacks of ctypes (libffi) work under MemoryDenyWriteExecute, as guard and service have it",
        harness.ok(f"{filtered} /usr/lib/cabinet/bin/python3 /opt/bench/callback.py", 60),
    )
    harness.wait("the simulated hardware", "systemctl is-active -q bench-hardware", 120)
