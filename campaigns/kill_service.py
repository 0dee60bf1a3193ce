"""The real service killed at random times while residents start, charge, unplug and stop: every charge is settled once.

A scenario is the process of `cabinet serve`, over a fake guard that never dies, and four residents. Repeatedly a
resident acts, and within the next 0.12 s (or 1.2 s if only checkpoints are written) the service gets SIGKILL. It is
started again, the phone repeats the same request, and the others continue to charge. At the end the ledger balances,
the usage log is complete, no charge was settled twice, and no resident pays for more than was delivered.

    python -m campaigns.kill_service [--count 8] [--seed N --verbose]
"""

import contextlib
import random
import re
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import httpx

from cabinet.model import EndReason
from cabinet.system.run_folder import guard_socket
from cabinet_testing.real_cabinet import Resident, wait_for
from campaigns.live import CODES, Say
from campaigns.runner import Campaign, Outcome, main
from campaigns.warm_service import RealTimeGuard, WarmCabinet

KILLS = 25  # per scenario
SOON_S = 0.12  # a request is answered within about this time
CHECKPOINTS_S = 1.2


class Kills:
    """Actions of residents just before the service dies; `problems` collects the deviations."""

    def __init__(self, cabinet: WarmCabinet, guard: RealTimeGuard, chance: random.Random, say: Say) -> None:
        self.cabinet, self.guard, self.chance, self.say = cabinet, guard, chance, say
        self.problems: list[str] = []
        self.cells: dict[str, dict[str, int]] = {}
        self.points: list[str] = []
        self.over = threading.Event()  # never set: only used to wait for a random time
        self.pages: dict[int, str] = {}
        self.residents: dict[int, Resident] = {
            outlet: cabinet.resident(f"5000000{outlet}", balance_yuan="200.00") for outlet in CODES
        }
        for outlet in CODES:
            self.pages[outlet] = self.residents[outlet].start(CODES[outlet]).url.path

    def kill(self) -> None:
        outlet = self.chance.choice(list(CODES))
        charging = self.shows_charge(outlet)
        doing = self.chance.choice(("charging", "stop", "unplug") if charging else ("start",))
        known = self.sessions(outlet)
        again = {"charging": self.nothing, "stop": self.stop, "unplug": self.unplug, "start": self.begin}[doing](outlet)
        after_s = self.chance.uniform(0, SOON_S if doing in ("start", "stop") else CHECKPOINTS_S)
        self.over.wait(after_s)
        self.cabinet.processes.pop("service").kill()
        on_disk = self.on_disk(outlet, known, doing == "start")
        self.cabinet.start("service")
        for resident in self.residents.values():
            resident.client.base_url = self.cabinet.url
        again()
        became = self.judge(outlet, doing, known)
        self.say(f"{doing} at outlet {outlet}, killed after {1000 * after_s:.0f} ms: {on_disk}: {became}")
        row = self.cells.setdefault(f"{doing}; on disk: {on_disk}", {})
        row[became] = row.get(became, 0) + 1
        self.points.append(f"{doing} {on_disk} {1000 * after_s:.0f}")
        self.guard.plugged.add(outlet)

    # --- Actions; each returns the request that the phone repeats after the restart --------------------------------

    def nothing(self, outlet: int) -> Callable[[], None]:
        return lambda: None

    def unplug(self, outlet: int) -> Callable[[], None]:
        self.guard.unplug(outlet, EndReason.UNPLUGGED)
        return lambda: None

    def stop(self, outlet: int) -> Callable[[], None]:
        path, resident = self.pages[outlet], self.residents[outlet]
        page = resident.client.get(path)
        self.send_and_forget(outlet, page, f"{path}/stop")
        return lambda: self.send_again(outlet, page, f"{path}/stop")

    def begin(self, outlet: int) -> Callable[[], None]:
        page, action = self.residents[outlet].offer(CODES[outlet]), f"/s/{CODES[outlet]}/start"
        self.send_and_forget(outlet, page, action)
        return lambda: self.send_again(outlet, page, action)

    def send_and_forget(self, outlet: int, page: httpx.Response, action: str) -> None:
        def send() -> None:
            with contextlib.suppress(httpx.HTTPError):
                self.residents[outlet].send(page, action, **fields(action))

        self.thread = threading.Thread(target=send, daemon=True)
        self.thread.start()

    def send_again(self, outlet: int, page: httpx.Response, action: str) -> None:
        """Send the same form with the same key again, until the guard is available."""
        self.thread.join()

        def answer() -> httpx.Response | None:
            got = self.residents[outlet].send(page, action, to=action, **fields(action))
            return got if got.status_code < 500 else None

        got = wait_for("an answer", answer)
        if action.endswith("/start"):
            if not got.url.path.startswith("/charge/"):
                raise AssertionError(f"start at outlet {outlet}: {got.status_code} {got.url.path}: {said(got.text)}")
            self.pages[outlet] = got.url.path

    # --- Checks -----------------------------------------------------------------------------------------------------

    def sessions(self, outlet: int) -> set[str]:
        return {row["session_id"] for row in self.rows("SELECT session_id FROM session WHERE outlet = ?", outlet)}

    def on_disk(self, outlet: int, known: set[str], new: bool) -> str:
        """Return the state of the charge in the file after the kill: of a `new` one, or of the last."""
        rows = self.rows("SELECT session_id, state FROM session WHERE outlet = ? ORDER BY number DESC LIMIT 1", outlet)
        return next((row["state"] for row in rows if not new or row["session_id"] not in known), "nothing yet")

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        path = self.cabinet.state / "cabinet.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(query, values).fetchall()

    def judge(self, outlet: int, doing: str, known: set[str]) -> str:
        """Check that this charge is active or ended as requested. Return the result in words."""
        if doing == "charging":
            wait_for("the charge", lambda: self.shows_charge(outlet) and self.charges(outlet))
        elif doing == "start":
            wait_for("the charge, or its receipt", lambda: self.charges(outlet) or self.undone(outlet, known))
            if why := self.undone(outlet, known):  # it was stored, but the guard had never received it
                wait_for("its receipt", lambda: not self.shows_charge(outlet))
                return f"undone, nothing to pay ({why})"
            wait_for("its page", lambda: self.shows_charge(outlet))
        else:
            wait_for("its receipt", lambda: not self.shows_charge(outlet))
        new = self.sessions(outlet) - known
        if len(new) != (doing == "start"):
            self.problems.append(f"{doing} at outlet {outlet}: {len(new)} new charges")
        return {"start": "one charge", "charging": "goes on"}.get(doing, "ended and settled once")

    def undone(self, outlet: int, known: set[str]) -> str:
        """Return why the new charge was settled without having begun; empty if it was not."""
        query = "SELECT session_id, end_reason FROM session WHERE outlet = ? AND state = 'settled' AND cost_fen = 0"
        rows = [row for row in self.rows(query, outlet) if row["session_id"] not in known]
        return next((row["end_reason"] or "never closed" for row in rows), "")

    def charges(self, outlet: int) -> bool:
        return self.cabinet.phase(outlet) != "idle"

    def shows_charge(self, outlet: int) -> bool:
        path = self.pages[outlet]
        return f"{path}/stop" in self.residents[outlet].client.get(path).text

    def close_the_books(self) -> None:
        """Stop all charges, then check the sums in the file."""
        for outlet in CODES:
            if self.shows_charge(outlet):
                page = self.residents[outlet].client.get(self.pages[outlet])
                self.residents[outlet].send(page, f"{self.pages[outlet]}/stop")
        wait_for("all receipts", lambda: not any(self.shows_charge(outlet) for outlet in CODES))
        for command in (("ledger", "check"), ("usage", "verify"), ("store", "check")):
            if "OK" not in self.cabinet.command(*command):
                self.problems.append(f"cabinet {' '.join(command)} finds something wrong")
        twice = self.rows(
            "SELECT session_id FROM session_transition WHERE to_state = 'settled'"
            " GROUP BY session_id HAVING count(*) > 1"
        )
        unsettled = self.rows("SELECT session_id FROM session WHERE state != 'settled'")
        held = self.rows("SELECT name FROM account WHERE name LIKE 'hold:%' AND balance_fen != 0")
        if twice or unsettled or held:
            self.problems.append(f"settled twice {len(twice)}, not settled {len(unsettled)}, still held {len(held)}")
        billed_mwh = {
            row["session_id"]: row["mwh"]
            for row in self.rows("SELECT session_id, body ->> '$.energy_mwh' AS mwh FROM usage_record")
        }
        for session in billed_mwh.keys() | self.guard.guard.delivered_uwh.keys():
            delivered_mwh = self.guard.guard.delivered_uwh.get(session, 0) / 1000
            if abs(billed_mwh.get(session, 0) - delivered_mwh) > 1:  # counters are rounded down at both ends
                self.problems.append(f"{session}: delivered {delivered_mwh}, billed {billed_mwh.get(session)} mWh")


def said(page: str) -> str:
    """Return the alert of a page without its markup."""
    found = re.search(r'role="alert"[^>]*>(.*?)</p>', page, re.DOTALL)
    return re.sub(r"<[^>]+>|\s+", " ", found[1]).strip() if found else "no alert"


def fields(action: str) -> dict[str, str]:
    return {"kind": "full"} if action.endswith("/start") else {}


def scenario(seed: int, verbose: bool, kills: int = KILLS) -> Outcome:
    chance = random.Random(seed)
    say: Say = (lambda text: print(text, file=sys.stderr)) if verbose else (lambda text: None)
    guard = RealTimeGuard()
    with (
        tempfile.TemporaryDirectory(prefix="kill-") as folder,
        guard.guard.serving(guard_socket(Path(folder) / "run"), each_turn=guard.turn),
    ):
        cabinet = WarmCabinet(Path(folder))
        cabinet.start("service")
        try:
            campaign = Kills(cabinet, guard, chance, say)
            for _ in range(kills):
                campaign.kill()
            campaign.close_the_books()
        finally:
            cabinet.stop()
        return Outcome(seed, tuple(campaign.problems), kills, cells=campaign.cells, points=tuple(campaign.points))


CAMPAIGN = Campaign(
    name="kills-service",
    module="campaigns.kill_service",
    counted="kills of the real service",
    scenario=scenario,
    whole=8,
    quick=1,
    promise="a request sent twice is done once, every charge is settled once, ledger and usage log are whole",
    processes=1,
)

if __name__ == "__main__":
    raise SystemExit(main(CAMPAIGN))
