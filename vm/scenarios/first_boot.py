"""The first boot of a machine with the package on it and no configuration."""

from vm.bench import UNITS, Bench

PROMISE = "without a configuration everything is off and only the console runs; devices are those of a Pi"
BEFORE = "installed"
LEAVES = "booted"


def run(bench: Bench) -> None:
    bench.machine.run("systemctl is-system-running --wait", check=False)  # until the boot has ended
    for device in ("/dev/gpiochip0", "/dev/i2c-1", "/dev/watchdog", "/dev/ttyS1"):
        bench.shows(f"the machine has {device}", bench.ok(f"test -e {device}"))
    states = {
        unit: bench.machine.run(f"systemctl is-active {unit}", check=False).out.strip()
        for unit in (*UNITS, "cabinet-steward")
    }
    bench.shows("guard and service do not run", states["cabinet-guard"] == states["cabinet-service"] == "inactive")
    bench.shows("the console and its steward run", states["cabinet-console"] == states["cabinet-steward"] == "active")
    bench.shows("no unit has failed", bench.run("systemctl --failed --no-legend | wc -l").strip() == "0")
    bench.shows("no relay's line is high", bench.ok(bench.all_open()))
    rights = bench.run("stat -c '%U:%G %a' /dev/gpiochip0 /dev/i2c-1").split("\n")
    bench.shows("udev rules: devices belong to gpio and i2c", rights[:2] == ["root:gpio 660", "root:i2c 660"])
    bench.wait("the simulated hardware", "systemctl is-active -q bench-hardware", 120)
