"""systemctl stop of the guard in a charge, and the unit that switches everything off by hand."""

from vm.bench import Bench

PROMISE = "systemctl stop cabinet-guard and start cabinet-failsafe open everything; a start goes on"
BEFORE = "charging"
IN_CONTAINER = True


def run(bench: Bench) -> None:
    bench.charging()
    since_ns = bench.monotonic_ns()
    bench.run("systemctl stop cabinet-guard", 60)
    bench.measured("systemctl stop to the line low", bench.opened_ms(since_ns), "ms", 3000)
    bench.shows(
        "stopped without being killed", bench.run("systemctl show --value -p Result cabinet-guard").strip() == "success"
    )
    bench.run("systemctl start cabinet-guard", 60)
    bench.wait("the charge again", bench.closed(1), 120)
    since_ns = bench.monotonic_ns()
    bench.run("systemctl start cabinet-failsafe", 60)
    bench.measured("systemctl start cabinet-failsafe to the line low", bench.opened_ms(since_ns), "ms", 5000)
    bench.shows("the guard is stopped by it", not bench.ok("systemctl is-active -q cabinet-guard"))
    bench.run("systemctl start cabinet-guard", 60)
    bench.shows("starting the guard ends it", not bench.ok("systemctl is-active -q cabinet-failsafe"))
    bench.wait("the charge again", bench.closed(1), 120)
    bench.check_money()
