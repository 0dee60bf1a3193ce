"""Boot time, and memory of each process."""

from vm.harness import VmHarness

PROMISE = "boot to protecting within 10 s of init's start; memory within 160 MB"
BEFORE = "charging"
IN_CONTAINER = True
PIDS = {
    "keeper": "$(pgrep -x cabinet-keeper)",
    "guard": "$(pgrep -x cabinet-guard)",
    "service": "$(systemctl show --value -p MainPID cabinet-service)",
    "console": "$(systemctl show --value -p MainPID cabinet-console)",
    "steward": "$(systemctl show --value -p MainPID cabinet-steward)",
}


def run(harness: VmHarness) -> None:
    harness.charging()
    for line in harness.run("systemd-analyze blame --no-pager | head -8").splitlines():
        harness.shown.append(f"unit: {line.strip()}")
    ready_us = int(harness.run("systemctl show --value -p ActiveEnterTimestampMonotonic cabinet-guard"))
    init_us = int(harness.run("systemctl show --value -p UserspaceTimestampMonotonic"))
    harness.measured("init's start to protecting", (ready_us - init_us) / 1e6, "s of the machine", 10)
    measure_memory(harness)


def measure_memory(harness: VmHarness) -> None:
    """Measure the PSS of each process: a page shared by two is counted once."""
    total_mb = 0.0
    for name, pids in PIDS.items():
        said = harness.run(f"for pid in {pids}; do awk '/^Pss:/ {{print $2}}' /proc/$pid/smaps_rollup; done")
        mb = sum(map(int, said.split())) / 1024
        harness.measured(f"memory of the {name} (PSS)", mb, "MB")
        total_mb += mb
    harness.measured("memory of the whole product (PSS)", total_mb, "MB", 160)
