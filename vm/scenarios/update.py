"""`cabinet update` with a bundle that fails its trial."""

from vm.bench import Bench

PROMISE = "cabinet update: refused in a charge; a version whose guard does not start goes again by itself"
BEFORE = "charging"
IN_CONTAINER = True


def run(bench: Bench) -> None:
    bench.wait_protecting()
    bench.stick()
    refused = bench.machine.run("cabinet update install /mnt/stick/worse.bundle", check=False)
    bench.shows("without a key nothing is installed", refused.status != 0 and "has no key" in refused.err)
    bench.run("cp /mnt/stick/update-keys /etc/cabinet/update-keys")
    old = bench.run("dpkg-query -W -f '${Version}' cabinet")
    bench.charging()
    refused = bench.machine.run("cabinet update install /mnt/stick/worse.bundle", 300, check=False)
    bench.shows("refused in a charge", refused.status != 0 and "1 charge runs" in refused.err)
    bench.run("cabinet update install --no-wait --during-sessions /mnt/stick/worse.bundle", 900)
    bench.wait("the end of the trial", "! test -e /var/lib/cabinet/update/trial.json", 900)
    said = bench.run("cabinet update status")
    back = f"version {old} is installed, {old}+worse is not" in said
    bench.shows(f"the old version came back by itself: {said.strip()[:200]}", back)
    bench.shows("dpkg says so too", bench.run("dpkg-query -W -f '${Version}' cabinet") == old)
    bench.wait_protecting()
    bench.wait_charging()
    bench.check_money()
    _update_after_it(bench)
    bench.shows("who may sign is as it was before", bench.ok("cmp /mnt/stick/update-keys /etc/cabinet/update-keys"))
    bench.wait_charging()
    bench.check_money()


def _update_after_it(bench: Bench) -> None:
    """Install a good version; only the package if the processor is emulated, as 5 minutes of trial take 20 there."""
    if bench.kernel:
        bench.run("dpkg -i /mnt/stick/newer.deb", 900)
        bench.wait_protecting()
        return
    said = bench.run("cabinet update install --during-sessions /mnt/stick/newer.bundle", 900)
    bench.shows(f"a good one stays: {said.strip().splitlines()[-1]}", "stays" in said)
