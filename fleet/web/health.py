"""Health of the web process, and figures of the fleet for Prometheus."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import psycopg
from litestar import get
from litestar.response import Response
from psycopg_pool import PoolTimeout

from cabinet.web.context import PageRequest
from fleet.store import figures
from fleet.store.database import Pool
from fleet.web.context import FleetSite

PROBE_TIMEOUT_S = 2.0


class FleetHealth(msgspec.Struct):
    """`database`: whether it answers; `notices`: whether live pages are woken by it."""

    database: bool
    notices: bool


@get("/healthz", include_in_schema=False)
async def healthz(request: PageRequest) -> Response[Any]:
    """Answer 200 if orders can be placed, else 503. For a load balancer; no token is needed."""
    site = FleetSite.of(request)
    health = FleetHealth(await _answers(site.pool), site.notices.listening.is_set())
    return Response(health, status_code=200 if health.database else 503, headers={"Cache-Control": "no-store"})


async def _answers(pool: Pool) -> bool:
    try:
        async with pool.connection(timeout=PROBE_TIMEOUT_S) as connection:
            await connection.execute("SELECT 1")
    except (psycopg.Error, PoolTimeout):
        return False
    return True


class Family(NamedTuple):
    """One metric with its values by labels."""

    name: str
    kind: Literal["gauge", "counter"]
    text: str
    values: Sequence[tuple[str, float]]

    def lines(self) -> list[str]:
        values = [f"{self.name}{labels} {value:.16g}" for labels, value in self.values]
        return [f"# HELP {self.name} {self.text}", f"# TYPE {self.name} {self.kind}", *values]


async def metrics(pool: Pool) -> str:
    """Return the figures in Prometheus' text format, version 0.0.4."""
    async with pool.connection() as connection:
        now = await figures.of_cabinets(connection)
        orders = await figures.of_orders(connection)
        aside = await figures.orders_set_aside(connection)
        taken, set_aside = await figures.facts(connection)
        alarms = await figures.log_alarms(connection)
        uplinks = await figures.worst_uplinks(connection)
    online = [('{state="online"}', now.online), ('{state="offline"}', now.offline)]
    outlets = [('{condition="free"}', now.free), ('{condition="in_use"}', now.busy), ('{condition="bad"}', now.bad)]
    unanswered_s = max((each.oldest_s for each in orders if each.state in ("held", "sent")), default=0.0)
    families = (
        Family("fleet_cabinets", "gauge", "Cabinets that are not revoked.", online),
        Family("fleet_cabinets_silent", "gauge", "Cabinets online without a state for 11 minutes.", [("", now.silent)]),
        Family("fleet_heard_seconds", "gauge", "Time since any cabinet was last heard of.", [("", now.heard_s)]),
        Family("fleet_outlets", "gauge", "Outlets of cabinets that are online.", outlets),
        Family("fleet_facts_total", "counter", "Facts of cabinets taken up.", [("", taken)]),
        Family("fleet_facts_set_aside", "gauge", "Facts that could not be taken up.", [("", set_aside)]),
        Family("fleet_facts_waiting", "gauge", "Facts not acknowledged yet.", [("", now.facts_waiting)]),
        Family(
            "fleet_orders",
            "gauge",
            "Orders that are not over.",
            [(f'{{state="{each.state}"}}', each.orders) for each in orders],
        ),
        Family("fleet_orders_set_aside", "gauge", "Orders that failed and are not over.", [("", aside)]),
        Family("fleet_order_unanswered_seconds", "gauge", "Age of the oldest unanswered order.", [("", unanswered_s)]),
        Family(
            "fleet_uplink_heard_seconds",
            "gauge",
            "Time since a cabinet was last heard of; of the longest silent and the most behind.",
            [(f'{{cabinet="{each.id}"}}', each.heard_s) for each in uplinks],
        ),
        Family(
            "fleet_uplink_facts_waiting",
            "gauge",
            "Facts that a cabinet has not had acknowledged; of the same cabinets.",
            [(f'{{cabinet="{each.id}"}}', each.facts_waiting) for each in uplinks],
        ),
        Family("fleet_log_alarms", "gauge", "Problems found in mirrored usage logs.", [("", alarms)]),
    )
    return "".join(f"{line}\n" for family in families for line in family.lines())
