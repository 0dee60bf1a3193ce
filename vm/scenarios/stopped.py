"""systemctl stop of the guard during a charge, and the unit that switches everything off manually."""

from vm.bench import Bench

PROMISE = "systemctl stop cabinet-guard and start cabinet-failsafe open everything; what is off stays off"
BEFORE = "charging"
IN_CONTAINER = True
DROP_IN = "/run/systemd/system/cabinet-failsafe.service.d"


def run(bench: Bench) -> None:
    bench.charging()
    since_ns = bench.monotonic_ns()
    bench.run("systemctl stop cabinet-guard", 60)
    bench.measured("systemctl stop to the line low", bench.opened_ms(since_ns), "ms", 3000)
    bench.shows(
        "stopped without being killed", bench.run("systemctl show --value -p Result cabinet-guard").strip() == "success"
    )
    bench.run("systemctl start cabinet-guard", 60)
    bench.wait_charging()
    since_ns = bench.monotonic_ns()
    bench.run("systemctl start cabinet-failsafe", 60)
    bench.measured("systemctl start cabinet-failsafe to the line low", bench.opened_ms(since_ns), "ms", 5000)
    bench.shows("the guard is stopped by it", not bench.ok("systemctl is-active -q cabinet-guard"))
    for unit in ("cabinet-guard.service", "cabinet-again@guard.service"):
        bench.run(f"systemctl start {unit}", 60)
    bench.shows("a start of the guard does not undo it", _off(bench))
    for name, restart in (("a power cut", bench.cut_power), ("a shutdown", bench.shut_down)):
        restart(5.0)
        bench.wait("everything off again", "systemctl is-active -q cabinet-failsafe", 120)
        bench.shows(f"after {name} everything is still off", _off(bench))
    bench.run("systemctl stop cabinet-failsafe", 60)
    bench.wait_charging()
    _where_opening_fails(bench)
    bench.check_money()


def _where_opening_fails(bench: Bench) -> None:
    """Make the failsafe unit fail, then release it as docs/operations.md describes."""
    bench.run(f"mkdir -p {DROP_IN} && printf '[Service]\\nExecStart=\\nExecStart=false\\n' > {DROP_IN}/fails.conf")
    bench.run("systemctl daemon-reload")
    bench.shows("everything off that fails says so", not bench.ok("systemctl start cabinet-failsafe", 60))
    bench.run("systemctl start cabinet-guard")
    off = f"sleep 3; ! systemctl is-active -q cabinet-guard && {bench.all_open()}"
    bench.shows("no guard starts then either", bench.ok(off))
    bench.run(f"rm -r {DROP_IN}; systemctl daemon-reload")
    bench.run("rm -f /run/cabinet/everything-off /var/lib/cabinet/failsafe/everything-off")
    bench.run("systemctl start cabinet-guard", 60)
    bench.wait_charging()


def _off(bench: Bench) -> bool:
    """Return whether everything is off, and still is after 3 s."""
    return bench.ok(
        f"sleep 3; systemctl is-active -q cabinet-failsafe && ! pgrep -x cabinet-guard && {bench.all_open()}"
    )
