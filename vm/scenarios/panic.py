"""A kernel panic in a charge."""

import contextlib

from vm.bench import Bench
from vm.machine import Gone

PROMISE = "after a kernel panic the machine starts again, everything off first, and the charge goes on"
BEFORE = "charging"


def run(bench: Bench) -> None:
    bench.charging()
    bench.run("sleep 5; sync")
    boot_id = bench.run("cat /proc/sys/kernel/random/boot_id")
    with contextlib.suppress(Gone):
        bench.machine.run("echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger", 3, check=False)
    bench.machine.wait_up()
    bench.shows("it started again by itself", bench.run("cat /proc/sys/kernel/random/boot_id") != boot_id)
    bench.wait_protecting()
    first = [high for _, line, high in bench.lines() if line in (10, 11)][:1]
    bench.shows("no relay's line was high before the guard had checked", first != [] or bench.ok(bench.all_open()))
    bench.wait("the charge again", bench.closed(1), 180)
    bench.check_money()
