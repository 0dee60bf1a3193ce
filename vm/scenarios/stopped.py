"""systemctl stop of the guard during a charge, and the unit that switches everything off manually."""

from vm.harness import VmHarness

PROMISE = "systemctl stop cabinet-guard and start cabinet-failsafe open everything; what is off stays off"
BEFORE = "charging"
IN_CONTAINER = True
DROP_IN = "/run/systemd/system/cabinet-failsafe.service.d"


def run(harness: VmHarness) -> None:
    harness.charging()
    since_ns = harness.monotonic_ns()
    harness.run("systemctl stop cabinet-guard", 60)
    harness.measured("systemctl stop to the line low", harness.opened_ms(since_ns), "ms", 3000)
    harness.shows(
        "stopped without being killed",
        harness.run("systemctl show --value -p Result cabinet-guard").strip() == "success",
    )
    harness.run("systemctl start cabinet-guard", 60)
    harness.wait_charging()
    since_ns = harness.monotonic_ns()
    harness.run("systemctl start cabinet-failsafe", 60)
    harness.measured("systemctl start cabinet-failsafe to the line low", harness.opened_ms(since_ns), "ms", 5000)
    harness.shows("the guard is stopped by it", not harness.ok("systemctl is-active -q cabinet-guard"))
    for unit in ("cabinet-guard.service", "cabinet-again@guard.service"):
        harness.run(f"systemctl start {unit}", 60)
    harness.shows("a start of the guard does not undo it", _off(harness))
    for name, restart in (("a power cut", harness.cut_power), ("a shutdown", harness.shut_down)):
        restart(5.0)
        harness.wait("everything off again", "systemctl is-active -q cabinet-failsafe", 120)
        harness.shows(f"after {name} everything is still off", _off(harness))
    harness.run("systemctl stop cabinet-failsafe", 60)
    harness.wait_charging()
    _where_opening_fails(harness)
    harness.check_money()


def _where_opening_fails(harness: VmHarness) -> None:
    """Make the failsafe unit fail, then release it as docs/operations.md describes."""
    harness.run(f"mkdir -p {DROP_IN} && printf '[Service]\\nExecStart=\\nExecStart=false\\n' > {DROP_IN}/fails.conf")
    harness.run("systemctl daemon-reload")
    harness.shows("everything off that fails says so", not harness.ok("systemctl start cabinet-failsafe", 60))
    harness.run("systemctl start cabinet-guard")
    off = f"sleep 3; ! systemctl is-active -q cabinet-guard && {harness.all_open()}"
    harness.shows("no guard starts then either", harness.ok(off))
    harness.run(f"rm -r {DROP_IN}; systemctl daemon-reload")
    harness.run("rm -f /run/cabinet/everything-off /var/lib/cabinet/failsafe/everything-off")
    harness.run("systemctl start cabinet-guard", 60)
    harness.wait_charging()


def _off(harness: VmHarness) -> bool:
    """Return whether everything is off, and still is after 3 s."""
    return harness.ok(
        f"sleep 3; systemctl is-active -q cabinet-failsafe && ! pgrep -x cabinet-guard && {harness.all_open()}"
    )
