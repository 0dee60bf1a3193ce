"""Purge of the package, and installation again."""

from vm.harness import VmHarness

PROMISE = "purge keeps the usage log; installed again and commissioned it goes on from there"
BEFORE = "charging"
IN_CONTAINER = True


def run(harness: VmHarness) -> None:
    harness.charging()
    log = harness.usage()
    harness.stick()
    said = harness.run("dpkg --purge cabinet 2>&1", 600)
    harness.shows("purge opens everything", harness.ok(harness.all_open()))
    harness.shows("it says what it keeps", "usage log, its keys and backups are kept" in said)
    harness.shows(
        "configuration and units are gone",
        not harness.ok("ls /etc/cabinet /usr/lib/cabinet /lib/systemd/system/cabinet-guard.service"),
    )
    harness.shows("the database is there", harness.ok("test -s /var/lib/cabinet/cabinet.db"))
    harness.run("dpkg -i /mnt/stick/present.deb", 900)
    # The bench's hardware also runs from the package, and in a container its sockets were in /run/cabinet, now gone.
    harness.run(
        "systemctl restart bench-sim bench-hardware; "
        "install -m 640 -g cabinet /opt/bench/cabinet.toml /etc/cabinet/cabinet.toml",
        180,
    )
    harness.run("systemctl start cabinet-guard cabinet-service", 180)
    harness.wait_protecting()
    harness.shows("the usage log begins with what it had", harness.usage()[: len(log)] == log and log)
    harness.check_money()
    harness.run("cabinet --version; CABINET_PURGE=everything dpkg --purge cabinet", 600)
    harness.shows("asked for, purge takes everything", not harness.ok("test -e /var/lib/cabinet"))
