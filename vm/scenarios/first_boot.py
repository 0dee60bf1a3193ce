"""The first boot of a machine with the package installed and no configuration."""

from vm.bench import Bench

PROMISE = "without a configuration everything is off and only the console runs; devices are those of a Pi"
BEFORE = "installed"
LEAVES = "booted"


def run(bench: Bench) -> None:
    bench.machine.run("systemctl is-system-running --wait", check=False)  # until the boot has ended
    for device in ("/dev/gpiochip0", "/dev/i2c-1", "/dev/watchdog", "/dev/ttyS1"):
        bench.shows(f"the machine has {device}", bench.ok(f"test -e {device}"))
    bench.shows_not_commissioned()
    bench.shows("no relay's line is high", bench.ok(bench.all_open()))
    rights = bench.run("stat -c '%U:%G %a' /dev/gpiochip0 /dev/i2c-1").split("\n")
    bench.shows("udev rules: devices belong to gpio and i2c", rights[:2] == ["root:gpio 660", "root:i2c 660"])
    bench.wait("the simulated hardware", "systemctl is-active -q bench-hardware", 120)
