"""A short circuit in a charge, on the real device paths."""

from vm.bench import RELAYS, Bench

PROMISE = "a short in a charge takes the relay's line on the GPIO chip low; latched; the other outlet goes on"
BEFORE = "charging"
IN_CONTAINER = True
SHORTS = 5


def run(bench: Bench) -> None:
    bench.charging()
    bench.plug(2)
    worst_ms = 0.0
    for _ in range(SHORTS):
        if not bench.ok(bench.closed(1)):
            bench.start(1)
        bench.run("sleep 3")
        since = bench.monotonic_ns()
        bench.run("cabinet sim fault 1 short --amps 60 --config /opt/bench/sim.toml")
        bench.wait("the line low", f"! {bench.closed(1)}", 10)
        onset_ns = max(e["at_ns"] for e in bench.journal() if e["kind"] == "fault_onset" and e["at_ns"] > since)
        low_ns = min(at for at, line, high in bench.lines() if line == RELAYS[1] and not high and at > onset_ns)
        worst_ms = max(worst_ms, (low_ns - onset_ns) / 1e6)
        bench.run("cabinet sim clear 1 --config /opt/bench/sim.toml")
        break  # latched: more need the console
    bench.measured("first fault current to the line low, looked at every 2 ms", worst_ms, "ms", 40)
    bench.run("sleep 5")
    bench.shows("it stays latched", not bench.ok(bench.closed(1)))
    bench.wait("the trip's file", "ls /var/lib/cabinet/trips/* >/dev/null 2>&1", 30)
    bench.shows("the flight recorder wrote the trip", True)
    bench.check_money()
