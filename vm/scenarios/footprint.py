"""Boot time, memory of each process, and what is written to the disk."""

from vm.bench import Bench

PROMISE = "boot to protecting within 10 s of init's start; memory within 160 MB; at most 20 MB an hour written"
BEFORE = "installed"
LOOK_S = 60


def run(bench: Bench) -> None:
    bench.wait_protecting()
    ready_us = int(bench.run("systemctl show --value -p ActiveEnterTimestampMonotonic cabinet-guard"))
    init_us = int(bench.run("systemctl show --value -p UserspaceTimestampMonotonic"))
    bench.measured("init's start to protecting", (ready_us - init_us) / 1e6, "s of the machine", 10)
    for line in bench.run("systemd-analyze blame --no-pager | head -8").splitlines():
        bench.shown.append(f"unit: {line.strip()}")
    idle = _written(bench)
    bench.measured("written an hour, nobody charges", idle, "MB", 20)
    bench.charge(1)
    bench.charge(2)
    bench.run("sleep 10")
    bench.measured("written an hour, both outlets charge", _written(bench), "MB", 20)
    total = 0.0
    for name in ("cabinet-guard", "cabinet-keeper", "cabinet-service", "cabinet-console"):
        unit = name.replace("keeper", "guard")
        pids = (
            f"$(pgrep -x {name})"
            if "guard" in name or "keeper" in name
            else f"$(systemctl show --value -p MainPID {unit})"
        )
        mb = (
            sum(
                int(kb)
                for kb in bench.run(
                    f"for p in {pids}; do awk '/^Pss:/ {{print $2}}' /proc/$p/smaps_rollup; done"
                ).split()
            )
            / 1024
        )
        bench.measured(f"memory of {name} (PSS)", mb, "MB")
        total += mb
    bench.measured("memory of the whole product (PSS)", total, "MB", 160)


def _written(bench: Bench) -> float:
    """Bytes to the disk in a minute, as of an hour."""
    read = "sync; awk '{print $7}' /sys/block/vda/stat"
    before = int(bench.run(read))
    bench.run(f"sleep {LOOK_S}", LOOK_S + 60)
    return (int(bench.run(read)) - before) * 512 / 1e6 * 3600 / LOOK_S
