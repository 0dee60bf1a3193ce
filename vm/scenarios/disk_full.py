"""A full disk, and a disk that becomes read-only, during a charge."""

from vm.bench import AS_SERVICE, Bench

PROMISE = "a full and a read-only disk: the charge is protected and metered on, nothing is lost, all is well after it"
BEFORE = "charging"


def run(bench: Bench) -> None:
    bench.charging()
    bench.run(
        "fallocate -l $(( $(df --output=avail -B1 / | tail -1) - 4096 )) /filler; "
        "dd if=/dev/zero of=/filler2 bs=4k 2>/dev/null; true"
    )
    bench.run("sleep 15")
    bench.shows("full: the charge goes on", bench.ok(bench.closed(1)))
    bench.shows("full: guard and service run", bench.ok("systemctl is-active -q cabinet-guard cabinet-service"))
    bench.run("rm -f /filler /filler2; sync; sleep 10")
    bench.run("mount -o remount,ro / || echo u > /proc/sysrq-trigger; sleep 15")
    bench.shows("read-only: the guard protects on", bench.ok("systemctl is-active -q cabinet-guard"))
    bench.shows("read-only: the charge goes on", bench.ok(bench.closed(1)))
    bench.run("mount -o remount,rw /; sleep 10")
    bench.wait_protecting()
    bench.check_money()
    bench.shows("the session is still there", bench.run(f"{AS_SERVICE} store running").strip() == "1")
