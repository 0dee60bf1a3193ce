"""Short circuits during a charge, on the real device paths."""

from vm.bench import RELAYS, Bench

PROMISE = "a short in a charge takes the relay's line on the GPIO chip low, latched, cleared by staff; others go on"
BEFORE = "charging"
IN_CONTAINER = True
SHORTS = 6
FULL_WAVE_MS = 20.0  # within one mains cycle
SEEN_LATE_MS = 2.0  # the bench's hardware reads the line every 2 ms
NOT_REAL_TIME_MS = 200.0  # in a container the guard is not real-time: the test is that it opens, not the time
UNLATCH = (
    "setpriv --reuid=cabinet-console --regid=cabinet --clear-groups -- "
    "/usr/lib/cabinet/bin/python3 /opt/bench/unlatch.py 1"
)


def run(bench: Bench) -> None:
    bench.charging()
    bench.charge_beside(2)
    beside_ns = bench.monotonic_ns()
    times_ms = sorted(_short(bench, number) for number in range(SHORTS))
    bench.measured("shorts of 60 A", SHORTS, "")
    for name, value in (("soonest", times_ms[0]), ("median", times_ms[SHORTS // 2])):
        bench.measured(f"first fault current to the line low, {name}", value, "ms")
    bar_ms = FULL_WAVE_MS + SEEN_LATE_MS if bench.kernel else NOT_REAL_TIME_MS
    bench.measured("first fault current to the line low, latest", times_ms[-1], "ms", bar_ms)
    bench.shows("it stays latched", not bench.ok(bench.closed(1)))
    bench.wait("the trips' files", f"[ $(ls /var/lib/cabinet/trips | wc -l) -ge {SHORTS} ]", 30)
    bench.shows("the flight recorder wrote every trip", True)
    went_low = [at for at, line, high in bench.lines() if line == RELAYS[2] and not high and at > beside_ns]
    bench.shows("the other outlet charged on through all of them", not went_low and bench.ok(bench.closed(2)))
    bench.run(UNLATCH)
    bench.start(1)
    bench.shows("after staff have cleared it a charge starts again", bench.ok(bench.closed(1)))
    bench.check_money()


def _short(bench: Bench, number: int) -> float:
    """Run one short. Return the time from its first current to the relay's line low, in ms."""
    if number:
        bench.run(UNLATCH)
        bench.start(1)
    bench.run(f"sleep {2 + bench.random.uniform(0, 0.02):.4f}")  # at any phase
    since = bench.monotonic_ns()
    bench.run("cabinet sim fault 1 short --amps 60 --config /opt/bench/sim.toml")
    bench.wait("the line low", f"! {bench.closed(1)}", 10)
    onset_ns = max(e["at_ns"] for e in bench.journal() if e["kind"] == "fault_onset" and e["at_ns"] > since)
    low_ns = min(at for at, line, high in bench.lines() if line == RELAYS[1] and not high and at > onset_ns)
    bench.run("cabinet sim clear 1 --config /opt/bench/sim.toml")
    bench.shows_once("latched: it stays open", bench.ok(f"sleep 1; ! {bench.closed(1)}"))
    return (low_ns - onset_ns) / 1e6
