"""A computer without a clock battery and without network: 1970 at boot."""

from vm.bench import AS_SERVICE, Bench

PROMISE = "with the clock at 1970 charges work, and the log says that the time was not known"
BEFORE = "charging"
MACHINE = {"wall": "1970-01-02T00:00:00"}


def run(bench: Bench) -> None:
    # systemd itself never believes less than its own date; a Pi's kernel has no clock to read at all.
    bench.run("date -s 1970-01-02T00:10:00")
    bench.run("systemctl restart cabinet-guard cabinet-service", 180)
    bench.charging()
    bench.run("sleep 6; cabinet sim unplug 1 --config /opt/bench/sim.toml")
    bench.wait("the receipt", f"[ $({AS_SERVICE} usage export --format jsonl | wc -l) = 2 ]", 200)
    last = bench.usage()[-1]
    bench.shows(
        "the record says that the clock was not trusted",
        '"trusted":false' in last.replace(" ", "") or "untrusted" in last,
    )
    bench.check_money()
