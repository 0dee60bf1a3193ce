"""A hung guard and a hung keeper: SIGSTOP."""

from vm.harness import VmHarness

PROMISE = "a guard stopped by SIGSTOP is ended by the keeper, a keeper by systemd's watchdog; everything opens"
BEFORE = "charging"
IN_CONTAINER = True


def run(harness: VmHarness) -> None:
    harness.charging()
    pid, since_ns = harness.pid("cabinet-guard"), harness.monotonic_ns()
    harness.run(f"kill -STOP {pid}")
    harness.wait("the keeper's end of it", f"! kill -0 {pid} 2>/dev/null", 20)
    harness.wait("everything open", harness.all_open(), 20)
    harness.wait("the relay closed again", harness.closed(1), 120)
    harness.measured("guard hung to the line low (keeper waits 1 s here)", harness.opened_ms(since_ns), "ms", 3000)
    keeper, guard = harness.pid("cabinet-keeper"), harness.pid("cabinet-guard")
    since_ns = harness.monotonic_ns()
    harness.run(f"kill -STOP {keeper} {guard}")
    harness.wait("systemd's end of them", f"! kill -0 {keeper} 2>/dev/null", 60)
    harness.wait("everything open", harness.all_open(), 20)
    harness.wait("the guard again", "systemctl is-active -q cabinet-guard", 60)
    harness.measured("keeper and guard hung to the line low (WatchdogSec=2)", harness.opened_ms(since_ns), "ms", 15_000)
    harness.wait("the relay closed again", harness.closed(1), 120)
    harness.check_money()
