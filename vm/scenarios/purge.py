"""Purge of the package, and installation again."""

from vm.bench import Bench

PROMISE = "purge keeps the usage log; installed again and commissioned it goes on from there"
BEFORE = "charging"
IN_CONTAINER = True


def run(bench: Bench) -> None:
    bench.charging()
    log = bench.usage()
    bench.stick()
    said = bench.run("dpkg --purge cabinet 2>&1", 600)
    bench.shows("purge opens everything", bench.ok(bench.all_open()))
    bench.shows("it says what it keeps", "usage log, its keys and backups are kept" in said)
    bench.shows(
        "configuration and units are gone",
        not bench.ok("ls /etc/cabinet /usr/lib/cabinet /lib/systemd/system/cabinet-guard.service"),
    )
    bench.shows("the database is there", bench.ok("test -s /var/lib/cabinet/cabinet.db"))
    bench.run("dpkg -i /mnt/stick/present.deb", 900)
    # The bench's hardware also runs from the package, and in a container its sockets were in /run/cabinet, now gone.
    bench.run(
        "systemctl restart bench-sim bench-hardware; "
        "install -m 640 -g cabinet /opt/bench/cabinet.toml /etc/cabinet/cabinet.toml",
        180,
    )
    bench.run("systemctl start cabinet-guard cabinet-service", 180)
    bench.wait_protecting()
    bench.shows("the usage log begins with what it had", bench.usage()[: len(log)] == log and log)
    bench.check_money()
    bench.run("cabinet --version; CABINET_PURGE=everything dpkg --purge cabinet", 600)
    bench.shows("asked for, purge takes everything", not bench.ok("test -e /var/lib/cabinet"))
