"""Units that end repeatedly at once."""

from vm.harness import UNITS, VmHarness

PROMISE = "a unit that ends at once is started some times, then pauses for two minutes, then is started again"
BEFORE = "charging"
IN_CONTAINER = True
ENDS = "[Service]\\nExecStart=\\nExecStart=/bin/false\\nExecStopPost=\\n"
LIMITS = {"cabinet-guard": 20, "cabinet-service": 10, "cabinet-console": 10}


def run(harness: VmHarness) -> None:
    harness.wait_protecting()
    for unit in UNITS:
        folder = f"/run/systemd/system/{unit}.service.d"
        harness.run(f"mkdir -p {folder} && printf '{ENDS}' > {folder}/ends.conf")
    harness.run("systemctl daemon-reload && systemctl restart --no-block " + " ".join(UNITS))
    for unit in UNITS:
        harness.wait(f"the limit of {unit}", f"[ $(systemctl show --value -p ActiveState {unit}) = failed ]", 120)
        harness.measured(f"{unit}: starts before the pause", harness.restarts(unit), "", LIMITS[unit])
        name = unit.removeprefix("cabinet-")
        harness.shows(f"{unit}: its timer waits", harness.ok(f"systemctl is-active -q cabinet-again@{name}.timer"))
    harness.run("rm -r /run/systemd/system/cabinet-*.service.d && systemctl daemon-reload")
    harness.wait("the guard by its timer", "systemctl is-active -q cabinet-guard", 200)
    harness.wait_protecting()
    harness.wait("the console by its timer", "systemctl is-active -q cabinet-console", 200)
    harness.shows("all three came back by themselves, two minutes later", True)
