"""A kernel panic during a charge."""

import contextlib

from vm.harness import CONTACTOR, RELAYS, VmHarness
from vm.machine import Gone

PROMISE = "after a kernel panic the machine starts again, everything off first, and the charge goes on"
BEFORE = "charging"


def run(harness: VmHarness) -> None:
    harness.charging()
    harness.run("sleep 5; sync")
    boot_id = harness.run("cat /proc/sys/kernel/random/boot_id")
    with contextlib.suppress(Gone):
        harness.machine.run("echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger", 3, check=False)
    harness.machine.wait_up()
    harness.shows("it started again by itself", harness.run("cat /proc/sys/kernel/random/boot_id") != boot_id)
    harness.wait_protecting()
    harness.shows("since the boot every relay was open until the guard had tried it", _off_first(harness))
    harness.wait_charging()
    harness.check_money()


def _off_first(harness: VmHarness) -> bool:
    """Return whether relays were tested one by one with the contactor open, and all were open when it closed."""
    high: set[int] = set()
    for _, line, level in harness.lines():
        (high.add if level else high.discard)(line)
        if CONTACTOR in high:
            return not high & set(RELAYS.values())
        if len(high) > 1:
            return False
    return False
