"""Commissioning of a new cabinet: configuration, check, a resident, the first charge."""

from vm.harness import AS_SERVICE, CARD, CODES, PHONE, PIN, VmHarness

PROMISE = "commissioned as docs/operations.md says: configuration, check, resident, a charge from button to receipt"
BEFORE = "booted"
IN_CONTAINER = True
LEAVES = "charging"
PROCESSOR_TIME = "systemctl show --value -p CPUUsageNSec cabinet-guard"


def run(harness: VmHarness) -> None:
    harness.run("install -m 640 -g cabinet /opt/bench/cabinet.toml /etc/cabinet/cabinet.toml")
    harness.shows("cabinet check takes it", "OK" in harness.run("cabinet check /etc/cabinet/cabinet.toml"))
    harness.run("systemctl start bench-hardware", 120)
    before_s = harness.uptime_s()
    said = harness.run(f"systemctl start cabinet-guard && {PROCESSOR_TIME}", 120)
    harness.measured("guard from its start to protecting", harness.uptime_s() - before_s, "s of the machine", 10)
    if harness.kernel:  # an instruction is a nanosecond of its processor
        harness.measured("guard and keeper to protecting", int(said) / 1e6, "million instructions")
    harness.run("systemctl start cabinet-service", 180)
    harness.run("systemctl restart cabinet-console", 60)
    harness.wait_protecting()
    if harness.kernel:
        open_files = harness.run("for pid in $(pgrep -x cabinet-guard); do ls -l /proc/$pid/fd; done")
        harness.shows(
            "the guard uses /dev/i2c-1 and /dev/gpiochip0", "/dev/i2c-1" in open_files and "gpiochip0" in open_files
        )
        harness.shows("the guard is real-time", "FF" in harness.run("ps -eo cls,comm | grep cabinet-guard"))
    harness.run(f"{AS_SERVICE} resident add {CARD} --pin {PIN} --balance 50")
    harness.charge(1)
    harness.shows(
        "a charge started on the page closes the relay's line on the GPIO chip", harness.ok(harness.closed(1))
    )
    harness.run("sleep 8")
    stop = f"{PHONE} stop {CARD} {PIN} {CODES[1]}"
    harness.run(stop, 120)
    harness.wait("open after the stop", harness.all_open(), 30)
    harness.wait("the receipt", f"[ $({AS_SERVICE} usage export --format jsonl | wc -l) = 1 ]", 60)
    harness.check_money()
    harness.start(1)  # start state of the other scenarios
    # A power cut before the load is there ends the session.
    harness.wait("the load", "python3 /opt/bench/charging.py", 60)
