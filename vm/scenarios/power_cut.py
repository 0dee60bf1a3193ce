"""The machine killed at random moments of charges, its disk with only what was flushed."""

from vm import money
from vm.bench import CARD, CODES, PHONE, PIN, Bench

PROMISE = "power cuts in charges: no session lost, none billed twice, chain verifies, file system mounts"
BEFORE = "charging"
MOMENTS = ("in the middle of a charge", "while one stops", "while one starts")
COMING_BACK = "while the cabinet comes back from the one before"
FLICKERS = 0.3  # of the cuts are followed by another one before the service is ready again
LONGEST_S = 6.0
OUTAGES_S = (5.0, 60.0, 7200.0)  # after the longest a session ends instead of going on (service.resume_within_s)
WRITABLE = "touch /var/lib/mounted && rm /var/lib/mounted"
PRESSES = PHONE + " {} " + f"{CARD} {PIN} {CODES[1]}"


def run(bench: Bench) -> None:
    _with_less_to_do(bench)
    bench.wait_protecting()
    known = {_shown_to_resident(bench)}
    cuts = dict.fromkeys((*MOMENTS, COMING_BACK), 0)
    try:
        while not bench.enough(sum(cuts.values())):
            cuts[_one_cut(bench, known)] += 1
            while bench.random.random() < FLICKERS:
                _cut_after(bench)
                cuts[COMING_BACK] += 1
            bench.shows_once("the file system mounts, writable", bench.ok(WRITABLE))
            bench.wait_protecting()
            money.check(bench, bench.several(*money.ASKED), known)
    finally:
        for moment, count in cuts.items():
            bench.measured(f"power cuts {moment}", count, "")
        bench.measured("sessions that residents saw", len(known), "")
    bench.check_money()


def _one_cut(bench: Bench, known: set[str]) -> str:
    """Returns what was under way."""
    if not bench.ok(bench.closed(1)):
        bench.wait("a start, or the charge again", f"{{ {PRESSES.format('start')} || {bench.closed(1)}; }}", 120)
        known.add(_shown_to_resident(bench))
    moment = bench.random.choice(MOMENTS)
    _act(bench, moment)
    _cut_after(bench)
    return moment


def _cut_after(bench: Bench) -> None:
    """At once or some seconds later, for a short or a long outage."""
    bench.run(f"sleep {bench.random.uniform(0, LONGEST_S):.2f}")
    bench.cut_power(bench.random.choice(OUTAGES_S))


def _with_less_to_do(bench: Bench) -> None:
    """An emulated processor has enough to do with boots: the hardware looks every 10 ms, nobody is at the console."""
    bench.run("echo LOOK_S=0.01 > /var/lib/bench/environment")
    bench.run("systemctl mask --now cabinet-console cabinet-steward systemd-logind; sync", 60)


def _act(bench: Bench, moment: str) -> None:
    """What is under way when the power goes."""
    stop, start = PRESSES.format("stop"), PRESSES.format("start")
    if moment == "while one stops":
        bench.run(f"({stop} > /dev/null 2>&1 &)")
    elif moment == "while one starts":
        bench.run(f"{stop}; sleep 1; ({start} > /dev/null 2>&1 &)", 120)


def _shown_to_resident(bench: Bench) -> str:
    """The session whose page the resident saw last: that one may not be lost."""
    return bench.run("cat /var/lib/bench/charge").strip().removeprefix("/charge/")
