"""Installation of the package on a fresh Debian."""

from vm.bench import Bench

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
    bench.shows_not_commissioned()
    bench.shows("users are there", bench.ok("id cabinet-guard && id cabinet-service && id cabinet-console"))
