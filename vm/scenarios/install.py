"""The package on a Debian that has never seen it."""

from vm.bench import UNITS, Bench

PROMISE = "installs by dpkg; without a configuration everything is off and only the console runs"
BEFORE = "base"
IN_CONTAINER = True
LEAVES = "installed"


def run(bench: Bench) -> None:
    bench.stick()
    before_s = bench.uptime_s()
    said = bench.run("dpkg --force-unsafe-io -i /mnt/stick/present.deb 2>&1", 600)
    bench.measured("dpkg -i", bench.uptime_s() - before_s, "s of the machine")
    bench.shows("it says that it is not commissioned", "not commissioned" in said)
    bench.shows("cabinet --version answers", "cabinet" in bench.run("cabinet --version"))
    states = {
        unit: bench.machine.run(f"systemctl is-active {unit}", check=False).out.strip()
        for unit in (*UNITS, "cabinet-steward")
    }
    bench.shows("guard and service do not run", states["cabinet-guard"] == states["cabinet-service"] == "inactive")
    bench.shows("the console and its steward run", states["cabinet-console"] == states["cabinet-steward"] == "active")
    bench.shows("no unit has failed", bench.run("systemctl --failed --no-legend | wc -l").strip() == "0")
    bench.shows("users are there", bench.ok("id cabinet-guard && id cabinet-service && id cabinet-console"))
