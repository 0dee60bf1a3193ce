"""Commissioning of a new cabinet: configuration, check, a resident, the first charge."""

from vm.bench import AS_SERVICE, CARD, CODES, PHONE, PIN, Bench

PROMISE = "commissioned as docs/operations.md says: configuration, check, resident, a charge from button to receipt"
BEFORE = "booted"
IN_CONTAINER = True
LEAVES = "charging"


def run(bench: Bench) -> None:
    bench.run("install -m 640 -g cabinet /opt/bench/cabinet.toml /etc/cabinet/cabinet.toml")
    bench.shows("cabinet check takes it", "OK" in bench.run("cabinet check /etc/cabinet/cabinet.toml"))
    bench.run("systemctl start bench-hardware", 120)
    before_s = bench.uptime_s()
    bench.run("systemctl start cabinet-guard", 120)
    bench.measured("guard from its start to protecting", bench.uptime_s() - before_s, "s of the machine", 10)
    bench.run("systemctl start cabinet-service", 180)
    bench.run("systemctl restart cabinet-console", 60)
    bench.wait_protecting()
    if bench.kernel:
        open_files = bench.run("for pid in $(pgrep -x cabinet-guard); do ls -l /proc/$pid/fd; done")
        bench.shows(
            "the guard uses /dev/i2c-1 and /dev/gpiochip0", "/dev/i2c-1" in open_files and "gpiochip0" in open_files
        )
        bench.shows("the guard is real-time", "FF" in bench.run("ps -eo cls,comm | grep cabinet-guard"))
    bench.run(f"{AS_SERVICE} resident add {CARD} --pin {PIN} --balance 50")
    bench.charge(1)
    bench.shows("a charge started on the page closes the relay's line on the GPIO chip", bench.ok(bench.closed(1)))
    bench.run("sleep 8")
    stop = f"{PHONE} stop {CARD} {PIN} {CODES[1]}"
    bench.run(stop, 120)
    bench.wait("open after the stop", bench.all_open(), 30)
    bench.wait("the receipt", f"[ $({AS_SERVICE} usage export --format jsonl | wc -l) = 1 ]", 60)
    bench.check_money()
    bench.start(1)  # start state of the other scenarios
