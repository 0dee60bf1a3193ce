"""A full disk, and a disk that becomes read-only, during a charge."""

from vm.harness import AS_SERVICE, VmHarness

PROMISE = "a full and a read-only disk: the charge is protected and metered on, nothing is lost, all is well after it"
BEFORE = "charging"


def run(harness: VmHarness) -> None:
    harness.charging()
    harness.run(
        "fallocate -l $(( $(df --output=avail -B1 / | tail -1) - 4096 )) /filler; "
        "dd if=/dev/zero of=/filler2 bs=4k 2>/dev/null; true"
    )
    harness.run("sleep 15")
    harness.shows("full: the charge goes on", harness.ok(harness.closed(1)))
    harness.shows("full: guard and service run", harness.ok("systemctl is-active -q cabinet-guard cabinet-service"))
    harness.run("rm -f /filler /filler2; sync; sleep 10")
    harness.run("mount -o remount,ro / || echo u > /proc/sysrq-trigger; sleep 15")
    harness.shows("read-only: the guard protects on", harness.ok("systemctl is-active -q cabinet-guard"))
    harness.shows("read-only: the charge goes on", harness.ok(harness.closed(1)))
    harness.run("mount -o remount,rw /; sleep 10")
    harness.wait_protecting()
    harness.check_money()
    harness.shows("the session is still there", harness.run(f"{AS_SERVICE} store running").strip() == "1")
