"""The operating system of a commissioned cabinet upgraded from Debian 12 to 13, with the package that is for both."""

import shutil
from pathlib import Path

from vm import guests
from vm.archive import sources
from vm.harness import AS_SERVICE, VmHarness
from vm.image import in_system

PROMISE = "Debian 12 becomes 13 by apt full-upgrade: the package stays, units come up, the session and the money go on"
BEFORE = "charging"
IN_CONTAINER = True
GUESTS = ("bookworm-amd64",)  # there is no machine with Debian 13 on arm64
AFTER = guests.GUESTS["trixie-amd64"]
OFF_S = 30.0  # a session goes on after it
UNITS = "cabinet-guard cabinet-service cabinet-console cabinet-steward"
ENABLED = f"systemctl is-enabled {UNITS} cabinet-backup.timer cabinet-failsafe.path"
PACKAGE = "dpkg-query -W -f '${Status} ${Version}' cabinet"
PYTHON = "/usr/lib/cabinet/bin/python3 -c 'import sys; print(sys.version_info[:2])'"


def run(harness: VmHarness) -> None:
    harness.charging()
    known = {command: harness.run(command) for command in (PACKAGE, ENABLED)}
    log, running = harness.usage(), harness.run(f"{AS_SERVICE} store running")
    config = harness.run("sha256sum /etc/cabinet/cabinet.toml")
    harness.change_disk(AFTER, _upgrade, OFF_S)
    harness.wait_protecting()
    harness.shows("the system is Debian 13", harness.run("cat /etc/debian_version").startswith("13"))
    harness.shows("the package runs with its Python 3.13", harness.run(PYTHON).strip() == "(3, 13)")
    for what, command in (("the package stays installed", PACKAGE), ("units stay enabled", ENABLED)):
        harness.shows(f"{what}: {known[command].strip().splitlines()[-1]}", harness.run(command) == known[command])
    harness.shows("no unit has failed", harness.run("systemctl --failed --no-legend | wc -l").strip() == "0")
    harness.wait_charging()
    harness.shows("the session goes on", harness.run(f"{AS_SERVICE} store running") == running == "1\n")
    harness.shows("the usage log begins with what it had", harness.usage()[: len(log)] == log and log)
    harness.shows("the configuration is untouched", harness.run("sha256sum /etc/cabinet/cabinet.toml") == config)
    harness.check_money()


def _upgrade(root: Path) -> None:
    """Upgrade a system that does not run, with the host's network; no unit is started meanwhile."""
    lines = [f"deb {site} {suite} main\n" for site, suite in sources(AFTER.release.name)]
    (root / "etc/apt/sources.list").write_text("".join(lines))
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    in_system(root, AFTER.processor.arch, "apt-get", "-qq", "update")
    options = ("-qq", "-y", "-o", "Dpkg::Options::=--force-confold", "-o", "Dpkg::Options::=--force-unsafe-io")
    in_system(root, AFTER.processor.arch, "apt-get", *options, "full-upgrade")
    policy.unlink()
    in_system(root, AFTER.processor.arch, "apt-get", "clean")
