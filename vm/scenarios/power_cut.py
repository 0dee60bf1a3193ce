"""The machine killed at random times of charges, with only flushed data on its disk."""

from collections import Counter
from typing import NamedTuple

from vm import money
from vm.harness import CARD, CODES, PHONE, PIN, VmHarness

PROMISE = "power cuts in charges: no session lost, none billed twice, chain verifies, file system mounts"
BEFORE = "charging"
IN_CHARGE = "in the middle of a charge"
STOP_PRESSED, START_PRESSED = "after a stop was pressed", "after a start was pressed"
MOMENTS = (IN_CHARGE, STOP_PRESSED, START_PRESSED)
WEIGHTS = (2, 1, 1)
COMING_BACK = "while the cabinet comes back from the one before"
FLICKERS = 0.3  # share of cuts followed by another one before the service is ready again
MAX_DELAY_S = 6.0  # after that moment; a start or a stop takes about 1 s
OUTAGES_S = (5.0, 60.0, 7200.0)  # after the longest, a session ends instead of resuming (service.resume_within_s)
WRITABLE = "touch /var/lib/mounted && rm /var/lib/mounted"
PRESSES = PHONE + " {} " + f"{CARD} {PIN} {CODES[1]}"
ANSWERS = "/var/lib/bench/unsettled"  # of vm/guest/unsettled.py
BEFORE_SERVICE = "/etc/systemd/system/cabinet-service.service.d/unsettled.conf"


class Cut(NamedTuple):
    moment: str
    boot_id: str  # boot of the killed machine


def run(harness: VmHarness) -> None:
    _with_less_to_do(harness)
    harness.wait_protecting()
    known = {_shown_to_resident(harness)}
    cuts: list[Cut] = []
    hit: list[Cut] = []
    try:
        while not harness.enough(len(hit)):
            cuts.append(_one_cut(harness, known))
            while harness.random.random() < FLICKERS:
                cuts.append(_cut_after(harness, COMING_BACK))
            harness.shows_once("the file system mounts, writable", harness.ok(WRITABLE))
            harness.wait_protecting()
            money.check(harness, harness.several(*money.ASKED), known)
            hit = in_charge(cuts, _boot_id(harness), harness.run(f"cat {ANSWERS}"))
    finally:
        counted = Counter(cut.moment for cut in hit)
        for moment, count in Counter(cut.moment for cut in cuts).items():
            harness.measured(f"power cuts {moment}", count, "")
            harness.measured("of these with an unsettled charge on disk", counted[moment], "")
        harness.measured("power cuts with an unsettled charge on disk", len(hit), "")
        harness.measured("sessions that residents saw", len(known), "")
    harness.check_money()


def in_charge(cuts: list[Cut], boot_id: str, said: str) -> list[Cut]:
    """Return the cuts during a charge, by the count at the next start of the service; `boot_id` is of the last boot.

    If a machine is killed before its service starts, nothing has changed: the count of the next boot applies to both.
    """
    found: dict[str, int] = {}
    for boot, count in map(str.split, said.splitlines()):
        found.setdefault(boot, int(count))  # the service may start several times per boot
    boots = [cut.boot_id for cut in cuts] + [boot_id]
    return [cut for at, cut in enumerate(cuts, 1) if next((found[boot] for boot in boots[at:] if boot in found), 0)]


def _one_cut(harness: VmHarness, known: set[str]) -> Cut:
    if not harness.ok(harness.closed(1)):
        harness.wait("a start, or the charge again", f"{{ {PRESSES.format('start')} || {harness.closed(1)}; }}", 120)
        known.add(_shown_to_resident(harness))
    moment = harness.random.choices(MOMENTS, WEIGHTS)[0]
    _act(harness, moment)
    return _cut_after(harness, moment)


def _cut_after(harness: VmHarness, moment: str) -> Cut:
    """Cut the power at once or some seconds later, for a short or a long outage."""
    cut = Cut(moment, _boot_id(harness))
    harness.run(f"sleep {harness.random.uniform(0, MAX_DELAY_S):.2f}")
    harness.cut_power(harness.random.choice(OUTAGES_S))
    return cut


def _with_less_to_do(harness: VmHarness) -> None:
    """Reduce the load of the slow emulated processor: 10 ms polls, no console. Count unsettled charges at boot."""
    harness.run("echo LOOK_S=0.01 > /var/lib/bench/environment")
    harness.run("systemctl mask --now cabinet-console cabinet-steward systemd-logind", 60)
    harness.run(f"mkdir -p $(dirname {BEFORE_SERVICE}) && rm -f {ANSWERS}")
    drop_in = "[Service]\\nExecStartPre=+/usr/bin/python3 -I /opt/bench/unsettled.py\\n"
    harness.run(f"printf '{drop_in}' > {BEFORE_SERVICE} && systemctl daemon-reload && sync", 60)


def _act(harness: VmHarness, moment: str) -> None:
    """Send the last request before the cut."""
    stop, start = PRESSES.format("stop"), PRESSES.format("start")
    if moment == STOP_PRESSED:
        harness.run(f"({stop} > /dev/null 2>&1 &)")
    elif moment == START_PRESSED:
        harness.run(f"{stop} && sleep 1 && ({start} > /dev/null 2>&1 &)", 120)


def _boot_id(harness: VmHarness) -> str:
    return harness.run("cat /proc/sys/kernel/random/boot_id").strip()


def _shown_to_resident(harness: VmHarness) -> str:
    """Return the session on the last page that the resident has seen: it must not be lost."""
    return harness.run("cat /var/lib/bench/charge").strip().removeprefix("/charge/")
