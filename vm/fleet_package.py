"""`python -m vm.fleet_package`: install the fleet's package on a fresh Debian with PostgreSQL and mosquitto, run it,
and remove it, in a systemd container; the result is docs/reports/fleet-package.md. As root, with debootstrap.

It follows docs/fleet.md step by step, and is not part of `make test`: the Debian system is downloaded.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from campaigns.runner import commit, machine
from vm.archive import host_arch
from vm.container import Container
from vm.guests import CACHE, ROOT, CannotBuild
from vm.kernel import debootstrap

PACKAGES = "systemd,systemd-sysv,dbus,procps,python3,tzdata,ca-certificates,postgresql,mosquitto,iproute2,curl"
REPORT = ROOT / "docs" / "reports" / "fleet-package.md"
UNITS = ("cabinet-fleet-broker", "cabinet-fleet-worker", "cabinet-fleet-web")
MAX_EXPOSURE = 2.0  # of systemd-analyze security, 0 to 10
CONFIG = """[database]
url = "postgresql:///fleet"
[broker]
public_host = "broker.example.org"
folder = "/var/lib/cabinet-fleet/broker"
[trust]
folder = "/var/lib/cabinet-fleet/trust"
[web]
public_url = "https://charge.example.org"
trusted_proxies = ["127.0.0.1"]
"""


class FleetMachine(Container):
    """A container with an own loopback, and nothing of the bench of cabinets."""

    def _furnish(self) -> None:
        units = self._merged / "etc/systemd/system"
        for name in ("console-getty.service", "systemd-remount-fs.service"):
            (units / name).symlink_to("/dev/null")

    def fleet(self, *words: str, check: bool = True) -> str:
        """Run a command of the fleet as its user; return its output."""
        said = self.run(f"setpriv --reuid=cabinet-fleet --regid=cabinet-fleet --init-groups fleet {' '.join(words)}",
                        check=check)  # fmt: skip
        return (said.out + said.err).strip()


def steps(it: FleetMachine, package: str) -> Iterator[tuple[str, str]]:
    """Do each step, and yield its name and result. Raises AssertionError for the first that fails."""
    it.run("systemctl is-active postgresql")
    it.run(f"dpkg -i /mnt/stick/{package}", 300)
    yield "install", it.run("dpkg-query -W -f '${Version} ${Status}' cabinet-fleet").out.strip()
    states = it.run(f"systemctl is-active {' '.join(UNITS)}", check=False).out.split()
    assert states == ["inactive"] * len(UNITS), states
    yield "without a configuration nothing runs", "inactive"
    it.run("systemd-analyze verify /usr/lib/systemd/system/cabinet-fleet-*.service")
    yield "systemd-analyze verify", "no remark"
    for unit in UNITS:
        line = it.run(f"systemd-analyze security --no-pager {unit} | tail -1").out.strip()
        exposure = float(line.split(":")[1].split()[0])
        assert exposure <= MAX_EXPOSURE, line
        yield f"systemd-analyze security {unit}", f"{exposure}"
    it.run("runuser -u postgres -- createuser cabinet-fleet")
    it.run("runuser -u postgres -- createdb --owner cabinet-fleet fleet")
    it.run(f"cat > /etc/cabinet-fleet/fleet.toml <<'END'\n{CONFIG}END")
    it.run("chgrp cabinet-fleet /etc/cabinet-fleet/fleet.toml; chmod 0640 /etc/cabinet-fleet/fleet.toml")
    it.fleet("broker", "config", "--host", "broker.example.org")
    yield "fleet broker config", "written"
    yield "fleet migrate", it.fleet("migrate").replace("\n", " ")
    it.run(f"systemctl start {' '.join(UNITS)}")
    it.run(
        "until systemctl is-active -q cabinet-fleet-web && systemctl is-active -q cabinet-fleet-worker; do :; done", 60
    )
    yield "serve, work and broker", " ".join(it.run(f"systemctl is-active {' '.join(UNITS)}").out.split())
    yield "fleet check", it.fleet("check").replace("\n", " ")
    it.fleet("company", "add", "'Green Court'")
    it.fleet("company", "site", "'Green Court'", "--site", "'East gate'")
    code = it.fleet("cabinet", "add", "c-one", "--company", "'Green Court'", "--site", "'East gate'")
    yield "fleet cabinet add", f"a code of {len(code)} characters"
    page = it.run("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8090/property/sign-in").out
    assert page == "200", page
    yield "the sign-in page answers", page
    it.run(
        "systemctl kill -s KILL cabinet-fleet-worker; until systemctl is-active -q cabinet-fleet-worker; do :; done", 30
    )
    yield "the worker is back after a kill", "active"
    it.run(f"dpkg -i /mnt/stick/{package}", 300)
    yield "installed again over itself", " ".join(it.run(f"systemctl is-active {' '.join(UNITS)}").out.split())
    it.run("dpkg --purge cabinet-fleet", 120)
    left = it.run("ls -A /etc/cabinet-fleet /usr/lib/cabinet-fleet 2>/dev/null", check=False).out.split()
    assert not left, left
    it.run("test -s /var/lib/cabinet-fleet/trust/ca.key")
    it.run("runuser -u postgres -- psql -qc 'SELECT count(*) FROM cabinet' fleet")
    yield "purged", "no files left but the keys; the database is kept"


def main() -> int:
    parser = argparse.ArgumentParser(description="Try the fleet's package on a fresh Debian.")
    parser.add_argument("package", type=Path, help="such as dist/cabinet-fleet_0.1.0_amd64.deb")
    args = parser.parse_args()
    rootfs = CACHE / f"fleet-bookworm-{host_arch()}" / "rootfs"
    try:
        if not (rootfs / "sbin/init").exists():
            rootfs.parent.mkdir(parents=True, exist_ok=True)
            debootstrap("bookworm", host_arch(), PACKAGES, rootfs)
    except CannotBuild as problem:
        print(problem, file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="fleet-package-", dir=rootfs.parent))
    stick = folder / "stick"
    stick.mkdir()
    shutil.copy(args.package, stick)
    it = FleetMachine(rootfs, folder / "changes", folder, stick)
    done: list[tuple[str, str]] = []
    try:
        it.wait_up()
        for step in steps(it, args.package.name):
            done.append(step)
            print(": ".join(step), flush=True)
    finally:
        it.power_off()
        shutil.rmtree(folder, ignore_errors=True)
    REPORT.write_text(report(args.package.name, done), encoding="utf-8")
    return 0


def report(package: str, done: list[tuple[str, str]]) -> str:
    rows = "".join(f"| {name} | {result} |\n" for name, result in done)
    return (
        "# The fleet's package on a fresh Debian\n\n"
        f"`python -m vm.fleet_package {package}`, commit {commit()},\n{machine()}: Debian 12 with its PostgreSQL and\n"
        "mosquitto in a systemd container, by the steps of [fleet.md](../fleet.md).\n\n"
        f"| step | result |\n|---|---|\n{rows}"
    )


if __name__ == "__main__":
    sys.exit(main())
