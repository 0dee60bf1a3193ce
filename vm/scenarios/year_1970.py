"""A computer without a clock battery and without network: 1970 at boot."""

import json

from vm.harness import AS_SERVICE, CARD, CODES, PHONE, PIN, VmHarness

PROMISE = "with the clock at 1970 the charge before it is settled, new ones work, and the log says what was not known"
BEFORE = "charging"
MACHINE = {"wall": "1970-01-02T00:00:00"}
LEARN_S = 180  # time in which a booted computer must get the time
CHARGE_S = 20


def run(harness: VmHarness) -> None:
    # systemd never accepts a time before its build date; a Pi's kernel has no clock to read at all.
    harness.run("systemctl stop cabinet-service cabinet-guard && date -s 1970-01-02T00:10:00", 60)
    harness.run("systemctl start cabinet-guard cabinet-service", 180)
    harness.wait_protecting()
    harness.run(f"sleep {LEARN_S - 20}", LEARN_S)
    harness.wait("the old charge settled", _settled(2), 80)
    old = json.loads(harness.usage()[1])
    harness.shows("nobody knows how long the power was gone: settled as power lost", old["end_reason"] == "power_lost")
    harness.start(1)
    harness.run(f"sleep {CHARGE_S}; {PHONE} stop {CARD} {PIN} {CODES[1]}")
    harness.wait("the receipt", _settled(3), 60)
    record = json.loads(harness.usage()[2])
    harness.shows(
        "the record says that the clock was not to be trusted",
        not record["started"]["trusted"] and not record["ended"]["trusted"],
    )
    harness.shows("its times are those of 1970", record["ended"]["unix_ms"] < 10 * 86_400_000)
    harness.shows(
        f"it charged for about {CHARGE_S} s all the same", CHARGE_S - 2 <= record["charging_s"] <= CHARGE_S + 15
    )
    harness.run("date -s '2026-11-27 08:00:00' && python3 /opt/bench/synchronise.py; sleep 3")
    harness.check_money()
    harness.start(1)
    harness.shows("when the time is known, charges start as before", harness.ok(harness.closed(1)))


def _settled(count: int) -> str:
    return f"[ $({AS_SERVICE} usage export --format jsonl | wc -l) = {count} ]"
