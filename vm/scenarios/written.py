"""Writes to the disk while an outlet charges."""

from cabinet.store.database import LOG_PAGES
from vm.harness import VmHarness

PROMISE = "at most 20 MB an hour written while an outlet charges"
BEFORE = "charging"
IN_CONTAINER = True
LOG_PAGE_BYTES = 4096 + 24  # page and frame header
SETTLING_S = 75  # for the writes of a start, and of the system's journal up to a minute later
LOOK_S = 120
TAKEOVER_LOOK_S = 600  # covers a checkpoint of the log, every 400 s; 40 minutes on an emulated machine


def run(harness: VmHarness) -> None:
    harness.charging()
    checkpoint_as_delivered(harness)
    harness.measured("written an hour, one outlet charges", written_mb(harness), "MB", 20)


def checkpoint_as_delivered(harness: VmHarness) -> None:
    """Set the default checkpoint interval; the bench's configuration has a fifth of it, for more writes at power cuts.

    While the database's log grows, the file system's journal writes more. So the log is made to grow quickly first; a
    killed service leaves its length unchanged.
    """
    config = "/etc/cabinet/cabinet.toml"
    harness.run(f"sed -i 's/^checkpoint_s.*/checkpoint_s = 0.2/' {config} && systemctl restart cabinet-service")
    harness.charging()
    grown = f"[ $(stat -c %s /var/lib/cabinet/cabinet.db-wal) -ge {LOG_PAGES * LOG_PAGE_BYTES} ]"
    harness.wait("the database's log as long as it gets", grown, 120)
    harness.run(f"sed -i '/^checkpoint_s/d' {config} && systemctl kill -s KILL cabinet-service && sleep 3")
    harness.charging()
    harness.run(f"sleep {SETTLING_S}", SETTLING_S + 60)


def written_mb(harness: VmHarness) -> float:
    """Return the MB written to the disk per hour, including the system's writes and the file system's journal."""
    look_s = LOOK_S if harness.kernel else TAKEOVER_LOOK_S
    before = harness.machine.written_bytes()
    harness.run(f"sleep {look_s}", look_s + 60)
    return (harness.machine.written_bytes() - before) / 1e6 * 3600 / look_s
