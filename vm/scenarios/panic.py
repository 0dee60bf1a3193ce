"""A kernel panic during a charge."""

import contextlib

from vm.bench import CONTACTOR, RELAYS, Bench
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
    bench.shows("since the boot every relay was open until the guard had tried it", _off_first(bench))
    bench.wait_charging()
    bench.check_money()


def _off_first(bench: Bench) -> bool:
    """Return whether relays were tested one by one with the contactor open, and all were open when it closed."""
    high: set[int] = set()
    for _, line, level in bench.lines():
        (high.add if level else high.discard)(line)
        if CONTACTOR in high:
            return not high & set(RELAYS.values())
        if len(high) > 1:
            return False
    return False
