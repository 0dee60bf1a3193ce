"""`cabinet update` with a bundle that fails its trial."""

from vm.harness import VmHarness

PROMISE = "cabinet update: refused in a charge; a version whose guard does not start goes again by itself"
BEFORE = "charging"
IN_CONTAINER = True


def run(harness: VmHarness) -> None:
    harness.wait_protecting()
    harness.stick()
    refused = harness.machine.run("cabinet update install /mnt/stick/worse.bundle", check=False)
    harness.shows("without a key nothing is installed", refused.status != 0 and "has no key" in refused.err)
    harness.run("cp /mnt/stick/update-keys /etc/cabinet/update-keys")
    old = harness.run("dpkg-query -W -f '${Version}' cabinet")
    harness.charging()
    refused = harness.machine.run("cabinet update install /mnt/stick/worse.bundle", 300, check=False)
    harness.shows("refused in a charge", refused.status != 0 and "1 charge runs" in refused.err)
    harness.run("cabinet update install --no-wait --during-sessions /mnt/stick/worse.bundle", 900)
    harness.wait("the end of the trial", "! test -e /var/lib/cabinet/update/trial.json", 900)
    said = harness.run("cabinet update status")
    back = f"version {old} is installed, {old}+worse is not" in said
    harness.shows(f"the old version came back by itself: {said.strip()[:200]}", back)
    harness.shows("dpkg says so too", harness.run("dpkg-query -W -f '${Version}' cabinet") == old)
    harness.wait_protecting()
    harness.wait_charging()
    harness.check_money()
    _update_after_it(harness)
    harness.shows("who may sign is as it was before", harness.ok("cmp /mnt/stick/update-keys /etc/cabinet/update-keys"))
    harness.wait_charging()
    harness.check_money()


def _update_after_it(harness: VmHarness) -> None:
    """Install a good version; only the package if the processor is emulated, as 5 minutes of trial take 20 there."""
    if harness.kernel:
        harness.run("dpkg -i /mnt/stick/newer.deb", 900)
        harness.wait_protecting()
        return
    said = harness.run("cabinet update install --during-sessions /mnt/stick/newer.bundle", 900)
    harness.shows(f"a good one stays: {said.strip().splitlines()[-1]}", "stays" in said)
