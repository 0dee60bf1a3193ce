"""The machine killed at random moments of charges, its disk with only what was flushed."""

import json

from vm.bench import AS_SERVICE, Bench

PROMISE = "power cuts in charges: no session lost, none billed twice, chain verifies, file system mounts"
BEFORE = "charging"
LONGEST_S = 12.0


def run(bench: Bench) -> None:
    bench.charging()
    bench.run("sync")
    for number in range(1, bench.cuts + 1):
        bench.start(1) if not bench.ok(bench.closed(1)) else None
        begun = bench.run(f"{AS_SERVICE} store running").strip()
        bench.run(f"sleep {bench.random.uniform(0, LONGEST_S):.2f}")
        bench.machine.kill()
        bench.machine = bench.boot()
        bench.shows_once(
            "the file system mounts, writable",
            bench.ok("touch /var/lib/cabinet-mounted && rm /var/lib/cabinet-mounted"),
        )
        bench.wait_protecting()
        bench.check_money_quietly()
        records = [json.loads(line) for line in bench.usage()]
        numbers = [record.get("session") or record.get("session_id") or record.get("order") for record in records]
        bench.shows_once("no session is in the usage log twice", len(set(numbers)) == len(numbers))
        bench.shows_once("a session that ran before the cut runs, or is settled", begun == "1")
        bench.cuts_done = number
    bench.measured("power cuts", bench.cuts, "")
    bench.check_money()
