"""A read-only root with one writable place for all writes of the product, as described in docs/operations.md."""

from vm.bench import CARD, CODES, PHONE, PIN, Bench

PROMISE = (
    "on a read-only root everything starts, a charge goes from button to receipt, and purge takes the product away"
)
BEFORE = "charging"
IN_CONTAINER = True
IN_MACHINE = False  # its disk has one partition
UNITS = "cabinet-guard cabinet-service cabinet-steward cabinet-console"
# The writable place is a bind mount, like that of the configuration; /var/lib/bench belongs to the bench.
LAYOUT = (
    "mkdir -p /var/lib/cabinet/etc",
    "cp -a /etc/cabinet/. /var/lib/cabinet/etc/",
    "mount --bind /var/lib/cabinet /var/lib/cabinet",
    "mount --bind /var/lib/cabinet/etc /etc/cabinet",
    "mount --bind /var/lib/bench /var/lib/bench",
    "mount -t tmpfs tmpfs /tmp",
    "mount -t tmpfs -o size=32M tmpfs /var/log",
    "systemctl restart systemd-journald bench-sim bench-hardware",  # they have files open outside the writable place
    "mount -o remount,bind,ro /",
)


def run(bench: Bench) -> None:
    bench.charging()
    bench.run(f"systemctl stop {UNITS}", 60)
    for command in LAYOUT:
        bench.run(command)
    bench.shows("nothing can be written beside it", not bench.ok("touch /usr/lib/cabinet/x /etc/x"))
    bench.run(f"systemctl start {UNITS}", 180)
    bench.wait_charging()
    bench.shows("the charge of before goes on", True)
    bench.run(f"{PHONE} stop {CARD} {PIN} {CODES[1]}", 120)
    bench.wait("open after the stop", bench.all_open(), 30)
    records = len(bench.usage())
    bench.start(1)
    bench.run(f"{PHONE} stop {CARD} {PIN} {CODES[1]}", 120)
    bench.wait("open after the stop", bench.all_open(), 30)
    bench.shows("a charge goes from button to receipt", len(bench.usage()) == records + 1)
    bench.shows("no unit has failed", bench.run("systemctl --failed --no-legend | wc -l").strip() == "0")
    bench.check_money()
    bench.run("mount -o remount,bind,rw /")
    said = bench.run("dpkg --purge cabinet 2>&1", 600)
    bench.shows("purge keeps what is billed from", "usage log, its keys and backups are kept" in said)
    bench.shows("its folders are mounts, and are empty of the rest", not bench.ok("ls -A /etc/cabinet | grep ."))
    bench.shows("the package is gone", not bench.ok("dpkg-query -W -f '${Status}' cabinet | grep -v not-installed"))
