"""dpkg -i of a newer version during a charge."""

from vm.harness import AS_SERVICE, VmHarness

PROMISE = "upgrade by dpkg in the middle of a charge: the outlet is off meanwhile, the same session goes on after it"
BEFORE = "charging"
IN_CONTAINER = True


def run(harness: VmHarness) -> None:
    harness.charging()
    harness.run("sleep 5")
    harness.stick()
    config = harness.run("sha256sum /etc/cabinet/cabinet.toml")
    harness.run("echo '# ours' >> /etc/cabinet/update-keys")
    since_ns, before_s = harness.monotonic_ns(), harness.uptime_s()
    harness.run("DEBIAN_FRONTEND=noninteractive dpkg -i /mnt/stick/newer.deb", 900)
    harness.measured("dpkg -i of the newer version", harness.uptime_s() - before_s, "s of the machine")
    harness.shows("the newer version is installed", "+newer" in harness.run("dpkg-query -W cabinet"))
    harness.wait_protecting()
    harness.wait_charging()
    changes = [high for at, line, high in harness.lines() if at > since_ns and line == 10]
    # The changes include the guard's test of each relay, at its start and with the contactor open.
    harness.shows("the outlet was off meanwhile and is on again", changes[:1] == [False] and changes[-1:] == [True])
    harness.shows("the session is the same", harness.run(f"{AS_SERVICE} store running").strip() == "1")
    harness.shows("the configuration is untouched", harness.run("sha256sum /etc/cabinet/cabinet.toml") == config)
    harness.shows("a changed conffile stays changed", harness.ok("grep -q '# ours' /etc/cabinet/update-keys"))
    harness.check_money()
