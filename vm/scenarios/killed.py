"""kill -9 of guard, keeper and service during a charge, under the real systemd."""

from vm.bench import AS_SERVICE, Bench

PROMISE = "kill -9 of guard, keeper, service: everything opens or the charge goes on, all come back, no session lost"
BEFORE = "charging"
IN_CONTAINER = True


def run(bench: Bench) -> None:
    bench.charging()
    for name in ("cabinet-guard", "cabinet-keeper"):
        bench.wait("closed before the kill", bench.closed(1), 120)
        pid, since_ns = bench.pid(name), bench.monotonic_ns()
        bench.run(f"kill -9 {pid}")
        bench.wait("another guard", f'[ -n "$(pgrep -x {name})" ] && ! kill -0 {pid} 2>/dev/null', 60)
        bench.wait("the relay closed again", bench.closed(1), 120)
        bench.measured(f"kill -9 of {name}: to its relay's line low", bench.opened_ms(since_ns), "ms", 2000)
    bench.shows("after guard and keeper the charge went on by itself", True)
    since_ns, restarts = bench.monotonic_ns(), bench.restarts("cabinet-service")
    bench.run("systemctl kill -s KILL --kill-who=main cabinet-service")
    bench.wait("the service again", f"[ $(systemctl show --value -p NRestarts cabinet-service) -gt {restarts} ]", 60)
    bench.wait_protecting()
    opened = [at for at, _, high in bench.lines() if at > since_ns and not high]
    bench.shows("with the service killed the charge went on without a break", not opened and bench.ok(bench.closed(1)))
    bench.check_money()
    bench.shows("no session is lost: one runs", bench.run(f"{AS_SERVICE} store running").strip() == "1")
