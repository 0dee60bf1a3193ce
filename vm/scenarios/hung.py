"""A hung guard and a hung keeper: SIGSTOP."""

from vm.bench import Bench

PROMISE = "a guard stopped by SIGSTOP is ended by the keeper, a keeper by systemd's watchdog; everything opens"
BEFORE = "charging"
IN_CONTAINER = True


def run(bench: Bench) -> None:
    bench.charging()
    pid, since_ns = bench.pid("cabinet-guard"), bench.monotonic_ns()
    bench.run(f"kill -STOP {pid}")
    bench.wait("the keeper's end of it", f"! kill -0 {pid} 2>/dev/null", 20)
    bench.wait("everything open", bench.all_open(), 20)
    bench.wait("the relay closed again", bench.closed(1), 120)
    bench.measured("guard hung to the line low (keeper waits 1 s here)", bench.opened_ms(since_ns), "ms", 3000)
    keeper, guard = bench.pid("cabinet-keeper"), bench.pid("cabinet-guard")
    since_ns = bench.monotonic_ns()
    bench.run(f"kill -STOP {keeper} {guard}")
    bench.wait("systemd's end of them", f"! kill -0 {keeper} 2>/dev/null", 60)
    bench.wait("everything open", bench.all_open(), 20)
    bench.wait("the guard again", "systemctl is-active -q cabinet-guard", 60)
    bench.measured("keeper and guard hung to the line low (WatchdogSec=2)", bench.opened_ms(since_ns), "ms", 15_000)
    bench.wait("the relay closed again", bench.closed(1), 120)
    bench.check_money()
