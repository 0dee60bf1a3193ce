"""dpkg -i of a newer version during a charge."""

from vm.bench import AS_SERVICE, Bench

PROMISE = "upgrade by dpkg in the middle of a charge: the outlet is off meanwhile, the same session goes on after it"
BEFORE = "charging"
IN_CONTAINER = True


def run(bench: Bench) -> None:
    bench.charging()
    bench.run("sleep 5")
    bench.stick()
    config = bench.run("sha256sum /etc/cabinet/cabinet.toml")
    bench.run("echo '# ours' >> /etc/cabinet/update-keys")
    since_ns, before_s = bench.monotonic_ns(), bench.uptime_s()
    bench.run("DEBIAN_FRONTEND=noninteractive dpkg -i /mnt/stick/newer.deb", 900)
    bench.measured("dpkg -i of the newer version", bench.uptime_s() - before_s, "s of the machine")
    bench.shows("the newer version is installed", "+newer" in bench.run("dpkg-query -W cabinet"))
    bench.wait_protecting()
    bench.wait_charging()
    changes = [high for at, line, high in bench.lines() if at > since_ns and line == 10]
    # The changes include the guard's test of each relay, at its start and with the contactor open.
    bench.shows("the outlet was off meanwhile and is on again", changes[:1] == [False] and changes[-1:] == [True])
    bench.shows("the session is the same", bench.run(f"{AS_SERVICE} store running").strip() == "1")
    bench.shows("the configuration is untouched", bench.run("sha256sum /etc/cabinet/cabinet.toml") == config)
    bench.shows("a changed conffile stays changed", bench.ok("grep -q '# ours' /etc/cabinet/update-keys"))
    bench.check_money()
