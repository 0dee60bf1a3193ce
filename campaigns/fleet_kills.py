"""A whole fleet killed at random, part by part, while residents charge: no fact, order or fen is lost or doubled.

A scenario is PostgreSQL (with fsync), broker, worker and web, whole simulated cabinets with their uplinks, cabinets at
message level, and a resident at every outlet used, who places orders and stops them. Again and again one part gets
SIGKILL, or a link is cut, is away for seconds, loses 30 % of its segments or takes 2 s. Then all of it runs undisturbed
until every order has its end, and what the cabinets wrote is compared with what the fleet holds.

    python -m campaigns.fleet_kills [--count 10] [--seed N --verbose]
"""

import random
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from cabinet_testing import fleet_site
from cabinet_testing.fault_proxy import FaultProxy
from cabinet_testing.fleet_broker import HOST
from cabinet_testing.fleet_scene import TARIFF
from cabinet_testing.fleet_site import COMPANY, SITE, FleetCabinet, FleetSite
from cabinet_testing.real_cabinet import wait_for
from campaigns.fleet_load import FleetLoad, light_cabinets
from campaigns.live import Say
from campaigns.runner import Campaign, Outcome, main
from fleet import config as configuration

KILLS = 100  # per scenario
WHOLE, LIGHT = 3, 200
OUTLETS_OF_WHOLE = (1, 2, 3)  # at which residents charge
PAUSE_S = (0.2, 2.0)  # between kills
AWAY_S = (0.0, 4.0)  # time for which a killed part is gone, and for which a link has a fault
QUIET_WITHIN_S = 240.0  # after the last kill: not_after + 30 s, and a back-off of the links
SETTLE_WITHIN_S = 120.0
DEAR = TARIFF.replace("fen_per_hour = 60", "fen_per_hour = 36000")


class FleetKills:
    """One fleet and its kills; `problems` collects the deviations."""

    def __init__(self, folder: Path, seed: int, say: Say, whole: int, light: int) -> None:
        self.chance, self.say = random.Random(seed), say
        self.problems: list[str] = []
        self.cells: dict[str, dict[str, int]] = {}
        self.site = FleetSite(folder, safe=True)
        self.site.start()
        self.site.add_company(DEAR)
        self.links = [
            (cabinet, cabinet.put_link(self.site.broker.port, self.chance.getrandbits(32)))
            for cabinet in (self.site.add_cabinet(number + 1, demo=True) for number in range(whole))
        ]
        self.light_link = FaultProxy(HOST, self.site.broker.port, seed)
        self.light_link.start()
        names = [f"light-{number:04}" for number in range(light)]
        config = configuration.load(self.site.config)
        self.company_id = self._add_light(names)
        certificates = folder / "light"
        certificates.mkdir()
        found = light_cabinets(self.site.broker, names, self.light_link.port, certificates)
        codes = [cabinet.code(outlet) for cabinet in self.site.cabinets for outlet in OUTLETS_OF_WHOLE]
        codes += [f"{name}-{self.chance.randint(1, 10)}".upper() for name in names]
        self.load = FleetLoad(config, self.company_id, codes, found, self.chance)
        for cabinet in self.site.cabinets:
            for outlet in OUTLETS_OF_WHOLE:
                cabinet.plug(outlet, "lead-acid-48v20ah", 0.3)
        self._over = threading.Event()  # never set: only used to wait for a random time

    def _add_light(self, names: list[str]) -> int:
        """Add the light cabinets as `fleet cabinet add` does, and give them the tariff."""
        with psycopg.connect(self.site.postgres.url("fleet")) as connection:
            row = connection.execute(
                "SELECT company.id, site.id FROM company JOIN site ON company_id = company.id"
                " WHERE company.name = %s AND site.name = %s",
                (COMPANY, SITE),
            ).fetchone()
            assert row is not None
            connection.cursor().executemany(
                "INSERT INTO cabinet (id, company_id, site_id, name) VALUES (%s, %s, %s, %s)",
                [(name, *row, name) for name in names],
            )
        self.site.command("tariff", "roll-out", str(self.site.folder / "tariff.toml"), "--company", COMPANY)
        return int(row[0])

    # --- kills -------------------------------------------------------------------------------------------------------

    def run(self, kills: int) -> None:
        """Disturb, then wait for quiet, then compare. `problems` has what is not as promised."""
        self.load.start()
        wait_for("the first order", lambda: self.load.placed, 120)
        for _ in range(kills):
            self._over.wait(self.chance.uniform(*PAUSE_S))
            self._disturb()
        self._quiet()
        self._compare()

    def _disturb(self) -> None:
        cabinet, link = self.chance.choice(self.links) if self.links else (None, self.light_link)
        acts: dict[str, Callable[[], None]] = {
            "broker": lambda: self._restart(self.site.broker.kill, self.site.broker.start),
            "postgres": lambda: self._restart(lambda: self.site.postgres.stop(kill=True), self.site.postgres.start),
            "worker": lambda: self._process(self.site.processes, "worker"),
            "web": lambda: self._process(self.site.processes, "web"),
            "link cut": self.chance.choice([link, self.light_link]).cut,
            "link away": lambda: self._link(self.chance.choice([link, self.light_link]), "accepting", False),
            "link loses": lambda: self._link(self.chance.choice([link, self.light_link]), "loss", 0.3),
            "link slow": lambda: self._link(self.chance.choice([link, self.light_link]), "delay_s", 2.0),
        }
        if cabinet is not None:
            acts["uplink"] = lambda: self._restart(cabinet.processes.pop("uplink").kill, cabinet.start_uplink)
            acts["service"] = lambda: self._restart(
                cabinet.processes.pop("service").kill, lambda: cabinet.start("service")
            )
        name = self.chance.choice(sorted(acts))
        acts[name]()
        row = self.cells.setdefault(name, {})
        row["done"] = row.get("done", 0) + 1
        self.say(f"{name}: {len(self.load.placed)} orders placed, {self.load.failures} calls without a database")

    def _restart(self, kill: Callable[[], None], start: Callable[[], None]) -> None:
        kill()
        self._over.wait(self.chance.uniform(*AWAY_S))
        start()

    def _process(self, processes: dict[str, Any], name: str) -> None:
        self._restart(processes.pop(name).kill, lambda: self.site.start_process(name))

    def _link(self, link: FaultProxy, fault: str, value: float | bool) -> None:
        before = getattr(link, fault)
        link.down() if fault == "accepting" else setattr(link, fault, value)
        self._over.wait(self.chance.uniform(*AWAY_S))
        link.up() if fault == "accepting" else setattr(link, fault, before)

    # --- the end -----------------------------------------------------------------------------------------------------

    def _quiet(self) -> None:
        """Wait until every order has its end state and every fact is acknowledged."""
        self.load.calm()
        began_s = time.monotonic()
        try:
            wait_for("the end of every order", lambda: not self._open_orders(), QUIET_WITHIN_S)
        except AssertionError:
            self.problems += [f"order without an end: {order}" for order in self._open_orders()]
        self.say(f"every order is over {time.monotonic() - began_s:.0f} s after the last kill")
        try:
            wait_for("the acknowledgement of every fact", lambda: not self._unacknowledged(), SETTLE_WITHIN_S)
        except AssertionError:
            self.problems.append(f"facts are not acknowledged: {self._unacknowledged()}")
        self.load.stop()

    def _open_orders(self) -> list[tuple[Any, ...]]:
        return self._fetch(
            "SELECT number, cabinet, state, refusal FROM charge_order WHERE state NOT IN ('paid_out', 'given_back')"
        )

    def _unacknowledged(self) -> dict[str, str]:
        """Return what waits at each cabinet: the numbers acknowledged and written."""
        found = {}
        for cabinet in self.site.cabinets:
            [(facts, acked)] = self._cabinet_rows(cabinet, "SELECT facts, acked FROM uplink")
            if facts != acked:
                found[cabinet.name] = f"{acked} of {facts}"
        for light in self.load.light:
            if light.sim.acked != light.sim.number:
                where = "connected" if light.connected.is_set() else "not connected"
                found[light.sim.cabinet] = f"{light.sim.acked} of {light.sim.number}, {where}"
        return found

    def _fetch(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.site.postgres.url("fleet")) as connection:
            return connection.execute(query.encode(), values).fetchall()

    @staticmethod
    def _cabinet_rows(cabinet: FleetCabinet, query: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(f"file:{cabinet.state}/cabinet.db?mode=ro", uri=True) as connection:
            return connection.execute(query).fetchall()

    def _compare(self) -> None:
        for cabinet in self.site.cabinets:
            self._compare_whole(cabinet)
        for light in self.load.light:
            self._compare_facts(light.sim.cabinet, light.sim.epoch, light.sim.number)
        for number, cabinet_id, count in self._fetch(
            "SELECT order_number, cabinet, count(*) FROM usage_record WHERE order_number IS NOT NULL"
            " GROUP BY order_number, cabinet HAVING count(*) > 1"
        ):
            self.problems.append(f"order {number} was carried out {count} times at {cabinet_id}")
        for row in self._fetch(
            "SELECT o.number, o.state, o.cost_fen, o.refund_fen, o.held_fen, u.electricity_fen + u.service_fen"
            " FROM charge_order o LEFT JOIN usage_record u ON u.order_number = o.number"
        ):
            self._compare_order(*row)
        for row in self._fetch("SELECT cabinet, kind, number, detail FROM log_alarm"):
            self.problems.append(f"alarm of a log: {row}")
        for row in self._fetch("SELECT cabinet, number, refused FROM fact WHERE refused IS NOT NULL"):
            self.problems.append(f"fact set aside: {row}")
        self._run("the fleet's ledger", lambda: self.site.command("ledger", "check"))
        self._run("the mirrored logs", lambda: self.site.command("usage", "verify"))

    def _run(self, what: str, check: Callable[[], object]) -> None:
        try:
            check()
        except AssertionError as error:
            self.problems.append(f"{what}: {error}")

    def _compare_order(
        self,
        number: str,
        state: str,
        cost_fen: int | None,
        refund_fen: int | None,
        held_fen: int,
        billed_fen: int | None,
    ) -> None:
        """Compare the money of an order with the bill of its charge."""
        row = self.cells.setdefault("orders", {})
        row[state] = row.get(state, 0) + 1
        if state == "paid_out" and (
            billed_fen is None or cost_fen != billed_fen or refund_fen != held_fen - billed_fen
        ):
            self.problems.append(f"order {number}: {cost_fen} + {refund_fen} of {held_fen} fen, billed {billed_fen}")
        if state == "given_back" and billed_fen:
            self.problems.append(f"order {number} was given back, and its charge cost {billed_fen} fen")

    def _compare_facts(self, cabinet: str, epoch: str, written: int) -> None:
        [(count, last)] = self._fetch(
            "SELECT count(*), coalesce(max(number), 0) FROM fact WHERE cabinet = %s AND epoch = %s", cabinet, epoch
        )
        if (count, last) != (written, written):
            self.problems.append(f"{cabinet} wrote {written} facts, the fleet has {count}, the last is {last}")

    def _compare_whole(self, cabinet: FleetCabinet) -> None:
        [(epoch, facts)] = self._cabinet_rows(cabinet, "SELECT epoch, facts FROM uplink")
        self._compare_facts(cabinet.name, epoch, facts)
        own = self._cabinet_rows(cabinet, "SELECT number, record_hash FROM usage_record ORDER BY number")
        mirrored = self._fetch(
            "SELECT number, record_hash FROM usage_record WHERE cabinet = %s ORDER BY number", cabinet.name
        )
        if own != mirrored:
            self.problems.append(f"{cabinet.name}: usage log of {len(own)} records, mirrored are {len(mirrored)}")
        for order, sessions in self._cabinet_rows(
            cabinet,
            "SELECT fleet_order, count(*) FROM session WHERE fleet_order IS NOT NULL GROUP BY fleet_order"
            " HAVING count(*) > 1",
        ):
            self.problems.append(f"{cabinet.name}: {sessions} sessions of order {order}")
        for order, started_ms in self._cabinet_rows(
            cabinet,
            "SELECT fleet_order, started_unix_ms FROM session WHERE fleet_order IS NOT NULL AND refusal IS NULL",
        ):
            late = self._fetch(
                "SELECT 1 FROM charge_order WHERE number = %s AND extract(epoch FROM not_after) * 1000 < %s",
                order,
                started_ms,
            )
            if late:
                self.problems.append(f"{cabinet.name}: order {order} began after its time")
        for name, balance_fen in self._cabinet_rows(
            cabinet, "SELECT name, balance_fen FROM account WHERE name LIKE 'order:%' AND balance_fen != 0"
        ):
            self.problems.append(f"{cabinet.name}: {balance_fen} fen stay in {name}")
        self._run(f"the store of {cabinet.name}", lambda: cabinet.command("store", "check"))

    def stop(self) -> None:
        for _, link in self.links:
            link.stop()
        self.light_link.stop()
        self.site.stop()


def scenario(seed: int, verbose: bool, kills: int = KILLS, whole: int = WHOLE, light: int = LIGHT) -> Outcome:
    say: Say = print if verbose else lambda _: None
    with fleet_site.temporary_folder() as folder:
        fleet = FleetKills(folder, seed, say, whole, light)
        try:
            fleet.run(kills)
        finally:
            fleet.stop()
    orders = sum(fleet.cells.get("orders", {}).values())
    say(f"{orders} orders, refused: {fleet.load.refusals}")
    return Outcome(seed, tuple(fleet.problems), count=kills, figures={"orders": [orders]}, cells=fleet.cells)


CAMPAIGN = Campaign(
    name="fleet-kills",
    module="campaigns.fleet_kills",
    counted="kills and link faults of a fleet",
    scenario=scenario,
    whole=10,
    quick=1,
    promise="no fact lost or doubled, no order done twice or after its time, no fen lost or made, every order ended",
    processes=1,
)

if __name__ == "__main__":
    if reason := fleet_site.missing():
        sys.exit(reason)
    raise SystemExit(main(CAMPAIGN))
