"""Figures of the whole fleet for its operator, in a few statements."""

import msgspec

from fleet.store import rows
from fleet.store.database import Connection

SILENT_S = 660  # two states missed
MAX_WORST = 10  # a series for each of thousands of cabinets would cost Prometheus more than it shows


class CabinetFigures(msgspec.Struct, frozen=True):
    """Counts of cabinets that are not revoked, and of their outlets while they are online."""

    online: int
    offline: int
    silent: int  # online by their connection, but without a state for SILENT_S
    free: int
    busy: int
    bad: int
    facts_waiting: int  # written by cabinets, not acknowledged yet
    heard_s: float  # since any cabinet was last heard of


class OrderFigures(msgspec.Struct, frozen=True):
    state: str
    orders: int
    oldest_s: float


async def of_cabinets(connection: Connection) -> CabinetFigures:
    found = await rows.one(
        connection,
        CabinetFigures,
        "SELECT count(*) FILTER (WHERE online) AS online, count(*) FILTER (WHERE NOT online) AS offline,"
        " count(*) FILTER (WHERE online AND state_at < now() - make_interval(secs => %s)) AS silent,"
        " coalesce(sum(free_outlets) FILTER (WHERE online), 0)::int AS free,"
        " coalesce(sum(busy_outlets) FILTER (WHERE online), 0)::int AS busy,"
        " coalesce(sum(bad_outlets) FILTER (WHERE online), 0)::int AS bad,"
        " coalesce(sum(facts_waiting), 0)::bigint AS facts_waiting,"
        " coalesce(extract(epoch FROM now() - max(heard)), 0)::float AS heard_s FROM cabinet WHERE revoked IS NULL",
        (SILENT_S,),
    )
    assert found is not None  # an aggregate has one row
    return found


class UplinkFigures(msgspec.Struct, frozen=True):
    """One cabinet's link."""

    id: str
    heard_s: float  # since it was last heard of
    facts_waiting: int


async def worst_uplinks(connection: Connection) -> list[UplinkFigures]:
    """Return the cabinets silent for longest, and those with the most facts waiting: a bounded number."""
    columns = "id, coalesce(extract(epoch FROM now() - heard), 0)::float AS heard_s, coalesce(facts_waiting, 0)"
    of = "FROM cabinet WHERE revoked IS NULL AND heard IS NOT NULL"
    return await rows.many(
        connection,
        UplinkFigures,
        f"(SELECT {columns}::bigint AS facts_waiting {of} ORDER BY heard LIMIT {MAX_WORST}) UNION"
        f" (SELECT {columns}::bigint {of} AND facts_waiting > 0 ORDER BY facts_waiting DESC LIMIT {MAX_WORST})"
        " ORDER BY id",
    )


async def of_orders(connection: Connection) -> list[OrderFigures]:
    """Return the orders that are not over, by state."""
    return await rows.many(
        connection,
        OrderFigures,
        "SELECT state, count(*) AS orders, max(extract(epoch FROM now() - made))::float AS oldest_s FROM charge_order"
        " WHERE state NOT IN ('paid_out', 'given_back') GROUP BY state ORDER BY state",
    )


async def orders_set_aside(connection: Connection) -> int:
    """Return the number of orders that failed for a reason of their own and are not over yet."""
    sql = (
        "SELECT count(*) FROM order_set_aside JOIN charge_order ON number = order_number"
        " WHERE state NOT IN ('paid_out', 'given_back')"
    )
    return int(await rows.value(connection, sql))


async def facts(connection: Connection) -> tuple[int, int]:
    """Return the number of facts taken up, and of those set aside."""
    taken = await rows.value(connection, "SELECT coalesce(sum(number), 0)::bigint FROM fact_position")
    return int(taken), int(await rows.value(connection, "SELECT count(*) FROM fact WHERE refused IS NOT NULL"))


async def log_alarms(connection: Connection) -> int:
    return int(await rows.value(connection, "SELECT count(*) FROM log_alarm"))
