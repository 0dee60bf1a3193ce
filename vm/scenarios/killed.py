"""kill -9 of guard, keeper and service during a charge, under the real systemd."""

from vm.harness import AS_SERVICE, VmHarness

PROMISE = "kill -9 of guard, keeper, service: everything opens or the charge goes on, all come back, no session lost"
BEFORE = "charging"
IN_CONTAINER = True


def run(harness: VmHarness) -> None:
    harness.charging()
    for name in ("cabinet-guard", "cabinet-keeper"):
        harness.wait("closed before the kill", harness.closed(1), 120)
        pid, since_ns = harness.pid(name), harness.monotonic_ns()
        harness.run(f"kill -9 {pid}")
        harness.wait("another guard", f'[ -n "$(pgrep -x {name})" ] && ! kill -0 {pid} 2>/dev/null', 60)
        harness.wait("the relay closed again", harness.closed(1), 120)
        harness.measured(f"kill -9 of {name}: to its relay's line low", harness.opened_ms(since_ns), "ms", 2000)
    harness.shows("after guard and keeper the charge went on by itself", True)
    since_ns, restarts = harness.monotonic_ns(), harness.restarts("cabinet-service")
    harness.run("systemctl kill -s KILL --kill-who=main cabinet-service")
    harness.wait("the service again", f"[ $(systemctl show --value -p NRestarts cabinet-service) -gt {restarts} ]", 60)
    harness.wait_protecting()
    opened = [at for at, _, high in harness.lines() if at > since_ns and not high]
    harness.shows(
        "with the service killed the charge went on without a break", not opened and harness.ok(harness.closed(1))
    )
    harness.check_money()
    harness.shows("no session is lost: one runs", harness.run(f"{AS_SERVICE} store running").strip() == "1")
