"""A read-only root with one writable place for all writes of the product, as described in docs/operations.md."""

from vm.harness import CARD, CODES, PHONE, PIN, VmHarness

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


def run(harness: VmHarness) -> None:
    harness.charging()
    harness.run(f"systemctl stop {UNITS}", 60)
    for command in LAYOUT:
        harness.run(command)
    harness.shows("nothing can be written beside it", not harness.ok("touch /usr/lib/cabinet/x /etc/x"))
    harness.run(f"systemctl start {UNITS}", 180)
    harness.wait_charging()
    harness.shows("the charge of before goes on", True)
    harness.run(f"{PHONE} stop {CARD} {PIN} {CODES[1]}", 120)
    harness.wait("open after the stop", harness.all_open(), 30)
    records = len(harness.usage())
    harness.start(1)
    harness.run(f"{PHONE} stop {CARD} {PIN} {CODES[1]}", 120)
    harness.wait("open after the stop", harness.all_open(), 30)
    harness.shows("a charge goes from button to receipt", len(harness.usage()) == records + 1)
    harness.shows("no unit has failed", harness.run("systemctl --failed --no-legend | wc -l").strip() == "0")
    harness.check_money()
    harness.run("mount -o remount,bind,rw /")
    said = harness.run("dpkg --purge cabinet 2>&1", 600)
    harness.shows("purge keeps what is billed from", "usage log, its keys and backups are kept" in said)
    harness.shows("its folders are mounts, and are empty of the rest", not harness.ok("ls -A /etc/cabinet | grep ."))
    harness.shows("the package is gone", not harness.ok("dpkg-query -W -f '${Status}' cabinet | grep -v not-installed"))
