"""Installation of the package on a fresh Debian."""

from vm.harness import VmHarness

PROMISE = "installs by dpkg; without a configuration everything is off and only the console runs"
BEFORE = "base"
IN_CONTAINER = True
LEAVES = "installed"


def run(harness: VmHarness) -> None:
    harness.stick()
    before_s = harness.uptime_s()
    said = harness.run("dpkg --force-unsafe-io -i /mnt/stick/present.deb 2>&1", 600)
    harness.measured("dpkg -i", harness.uptime_s() - before_s, "s of the machine")
    harness.shows("it says that it is not commissioned", "not commissioned" in said)
    harness.shows("cabinet --version answers", "cabinet" in harness.run("cabinet --version"))
    harness.shows_not_commissioned()
    harness.shows("users are there", harness.ok("id cabinet-guard && id cabinet-service && id cabinet-console"))
