"""Units that end repeatedly at once."""

from vm.bench import UNITS, Bench

PROMISE = "a unit that ends at once is started some times, then pauses for two minutes, then is started again"
BEFORE = "charging"
IN_CONTAINER = True
ENDS = "[Service]\\nExecStart=\\nExecStart=/bin/false\\nExecStopPost=\\n"
LIMITS = {"cabinet-guard": 20, "cabinet-service": 10, "cabinet-console": 10}


def run(bench: Bench) -> None:
    bench.wait_protecting()
    for unit in UNITS:
        folder = f"/run/systemd/system/{unit}.service.d"
        bench.run(f"mkdir -p {folder} && printf '{ENDS}' > {folder}/ends.conf")
    bench.run("systemctl daemon-reload && systemctl restart --no-block " + " ".join(UNITS))
    for unit in UNITS:
        bench.wait(f"the limit of {unit}", f"[ $(systemctl show --value -p ActiveState {unit}) = failed ]", 120)
        bench.measured(f"{unit}: starts before the pause", bench.restarts(unit), "", LIMITS[unit])
        name = unit.removeprefix("cabinet-")
        bench.shows(f"{unit}: its timer waits", bench.ok(f"systemctl is-active -q cabinet-again@{name}.timer"))
    bench.run("rm -r /run/systemd/system/cabinet-*.service.d && systemctl daemon-reload")
    bench.wait("the guard by its timer", "systemctl is-active -q cabinet-guard", 200)
    bench.wait_protecting()
    bench.wait("the console by its timer", "systemctl is-active -q cabinet-console", 200)
    bench.shows("all three came back by themselves, two minutes later", True)
