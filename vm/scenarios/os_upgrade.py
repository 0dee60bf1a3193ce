"""The operating system of a commissioned cabinet upgraded from Debian 12 to 13, with the package that is for both."""

import json
import shutil
from pathlib import Path

from vm import guests
from vm.archive import sources
from vm.harness import AS_SERVICE, CARD, CODES, PHONE, PIN, VmHarness
from vm.image import in_system

PROMISE = "Debian 12 becomes 13 by apt full-upgrade: the package stays, units come up, no session and no money is lost"
BEFORE = "charging"
IN_CONTAINER = True
GUESTS = ("bookworm-amd64",)  # there is no machine with Debian 13 on arm64
AFTER = guests.GUESTS["trixie-amd64"]
OFF_S = 2 * 3600.0
START = f"{PHONE} start {CARD} {PIN} {CODES[1]}"
UNITS = "cabinet-guard cabinet-service cabinet-console cabinet-steward"
ENABLED = f"systemctl is-enabled {UNITS} cabinet-backup.timer cabinet-failsafe.path"
PACKAGE = "dpkg-query -W -f '${Status} ${Version}' cabinet"
PYTHON = "/usr/lib/cabinet/bin/python3 -c 'import sys; print(sys.version_info[:2])'"


def run(harness: VmHarness) -> None:
    harness.charging()
    known = {command: harness.run(command) for command in (PACKAGE, ENABLED)}
    log, session = harness.usage(), harness.run("cat /var/lib/bench/charge").strip().removeprefix("/charge/")
    config = harness.run("sha256sum /etc/cabinet/cabinet.toml")
    harness.change_disk(AFTER, _upgrade, OFF_S)
    harness.wait_protecting()
    harness.shows("the system is Debian 13", harness.run("cat /etc/debian_version").startswith("13"))
    harness.shows("the package runs with its Python 3.13", harness.run(PYTHON).strip() == "(3, 13)")
    for what, command in (("the package stays installed", PACKAGE), ("units stay enabled", ENABLED)):
        harness.shows(f"{what}: {known[command].strip().splitlines()[-1]}", harness.run(command) == known[command])
    harness.shows("no unit has failed", harness.run("systemctl --failed --no-legend | wc -l").strip() == "0")
    settled = [json.loads(line)["session_id"] for line in harness.usage()].count(session)
    running = int(harness.run(f"{AS_SERVICE} store running"))
    harness.shows("the session of before goes on, or is settled once", settled + running == 1)
    harness.shows("the usage log begins with what it had", harness.usage()[: len(log)] == log and log)
    harness.wait("a start, or the charge again", f"{{ {START} || {harness.closed(1)}; }}", 180)
    harness.wait_charging()
    harness.shows("a charge runs", True)
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
