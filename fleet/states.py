"""States of cabinets into tables: the last one, its sums for lists, the outlets' codes, versions in force, telemetry.

Losing a message of these loses nothing: each replaces the one before.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from cabinet.uplink.messages import MAX_OUTLET, Online, StateReport
from fleet import order_keys
from fleet.order_book import OrderBook
from fleet.order_table import OrderStep
from fleet.store import facts, outlet_codes
from fleet.store.database import Connection

log = logging.getLogger(__name__)

TELEMETRY_S = 300
SILENT_S = 660  # an online cabinet that sent no state for two of its longest intervals is offline


class CabinetState(msgspec.Struct, frozen=True):
    """A state of one cabinet; `retained`: the broker kept it, so it says nothing about the present."""

    cabinet: str
    state: StateReport
    retained: bool = False


class CabinetOnline(msgspec.Struct, frozen=True):
    """The connection of one cabinet, as itself or its will says; `retained` as in `CabinetState`."""

    cabinet: str
    online: Online
    retained: bool = False


async def take_states(connection: Connection, arrived: Sequence[CabinetState]) -> None:
    """Write the newest state of each cabinet; unknown and revoked cabinets are left out."""
    newest = sorted({each.cabinet: each for each in arrived}.values(), key=lambda each: each.cabinet)
    cursor = await connection.execute(
        "UPDATE cabinet SET state = new.state::jsonb, state_at = now(), boot = new.boot, epoch = new.epoch,"
        " challenge = new.challenge, software = coalesce(nullif(new.software, ''), cabinet.software),"
        " free_outlets = new.free, busy_outlets = new.busy, bad_outlets = new.bad, fault = new.fault,"
        " problems = new.problems, feed_mw = new.feed_mw, feed_limit_mw = new.feed_limit_mw,"
        " facts_waiting = new.facts_waiting,"
        " heard = CASE WHEN new.retained THEN heard ELSE now() END,"
        " online_changed = CASE WHEN new.retained OR online THEN online_changed ELSE now() END,"
        " online = online OR NOT new.retained,"  # a will that came after the new connection is put right here
        f" telemetry_at = CASE WHEN telemetry_at > now() - interval '{TELEMETRY_S - 1} s' THEN telemetry_at"
        " ELSE now() END"
        " FROM unnest(%s::text[], %b::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::int[], %s::int[],"
        " %s::int[], %s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::boolean[]) AS"
        " new (id, state, boot, epoch, challenge, software, free, busy, bad, fault, problems, feed_mw, feed_limit_mw,"
        " facts_waiting, retained) WHERE cabinet.id = new.id AND revoked IS NULL"
        " RETURNING cabinet.id, telemetry_at = now()",
        _columns([_summary(each) for each in newest], 15),
    )
    due: dict[str, bool] = dict(await cursor.fetchall())
    known = {each.cabinet: each.state for each in newest if each.cabinet in due}
    await _write_telemetry(connection, {cabinet: state for cabinet, state in known.items() if due[cabinet]})
    await _write_versions(connection, known)
    await _compare_orders(connection, known)
    await notify(connection, list(known))


def _summary(each: CabinetState) -> tuple[Any, ...]:
    state = each.state
    conditions = [outlet.condition for outlet in state.outlets]
    free = 0 if state.accepting else sum(o.condition == "free" and o.refusal is None for o in state.outlets)
    return (
        each.cabinet, msgspec.json.encode(state).decode(), state.boot, state.epoch, state.challenge, state.software,
        free, conditions.count("in_use"), conditions.count("needs_service") + conditions.count("unreachable"),
        None if state.fault is None else state.fault.value, len(state.problems), state.feed_mw, state.feed_limit_mw,
        max(0, state.facts - state.acked), each.retained,
    )  # fmt: skip


async def _write_telemetry(connection: Connection, due: Mapping[str, StateReport]) -> None:
    if not due:
        return
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO telemetry (cabinet, at, feed_mw, power_mw, energy_mwh, temperature_mc)"
            " VALUES (%s, now(), %s, %s::bigint[], %s::bigint[], %s::bigint[]) ON CONFLICT DO NOTHING",
            [
                (
                    cabinet,
                    state.feed_mw,
                    *(_by_outlet(state, name) for name in ("power_mw", "energy_mwh", "temperature_mc")),
                )
                for cabinet, state in due.items()
            ],
        )


def _by_outlet(state: StateReport, name: str) -> list[int | None]:
    """Return a value of each outlet, in the place of its number; arrays of PostgreSQL begin with 1."""
    known = {outlet.number: outlet for outlet in state.outlets if 1 <= outlet.number <= MAX_OUTLET}
    return [getattr(known.get(number), name, None) for number in range(1, max(known, default=0) + 1)]


async def _write_versions(connection: Connection, states: Mapping[str, StateReport]) -> None:
    """Note which desired versions the cabinets have in force; a value whose version is not known any more is None."""
    if not states:
        return
    await connection.execute(
        "UPDATE desired SET applied_version = new.version,"
        " applied_at = CASE WHEN new.version = applied_version THEN applied_at ELSE now() END,"
        " applied_value = CASE WHEN new.version = desired.version THEN desired.value"
        " WHEN new.version = applied_version THEN applied_value END,"
        " rejected = CASE WHEN new.version >= desired.version THEN NULL ELSE new.rejected END"
        " FROM (SELECT desired.cabinet, kind, coalesce((versions ->> kind)::int, 0) AS version, reasons ->> kind AS"
        " rejected FROM unnest(%s::text[], %s::jsonb[], %s::jsonb[]) AS reported (cabinet, versions, reasons)"
        " JOIN desired USING (cabinet)) AS new"
        " WHERE desired.cabinet = new.cabinet AND desired.kind = new.kind"
        " AND (applied_version <> new.version OR desired.rejected IS DISTINCT FROM"
        " CASE WHEN new.version >= desired.version THEN NULL ELSE new.rejected END)",
        (
            list(states),
            [Jsonb(state.versions) for state in states.values()],
            [Jsonb(state.rejected) for state in states.values()],
        ),
    )


async def _compare_orders(connection: Connection, states: Mapping[str, StateReport]) -> None:
    """Take the step of an order that runs at its cabinet although its answer is not here.

    One that was given back meanwhile is to be stopped: what it costs becomes a debt.
    """
    running = {
        outlet.order: (cabinet, outlet.session_id)
        for cabinet, state in states.items()
        for outlet in state.outlets
        if outlet.order is not None
    }
    if not running:
        return
    cursor = await connection.execute(
        "SELECT number FROM charge_order WHERE number = ANY(%s)"
        " AND (state = 'sent' OR (state = 'given_back' AND stop_wanted IS NULL))",
        (list(running),),
    )
    surprising = [number for (number,) in await cursor.fetchall()]
    if not surprising:
        return
    book = await OrderBook.load(connection, surprising)
    for number in surprising:
        cabinet, session_id = running[number]
        row = book.row(number)
        if row.cabinet != cabinet:
            continue
        if book.may(number, OrderStep.ACCEPT):
            book.step(number, OrderStep.ACCEPT, "it runs", answered=book.now, session_id=session_id)
        elif row.state == "given_back" and row.stop_wanted is None:
            book.change(number, session_id=session_id, stop_wanted=book.now, stop_by="staff")
    await book.write(connection)


async def take_connections(connection: Connection, arrived: Sequence[CabinetOnline]) -> None:
    """Write which cabinets connected or are gone; their outlets, and the key of closings if it is the first one."""
    newest = sorted({each.cabinet: each for each in arrived}.values(), key=lambda each: each.cabinet)
    gone = [each.cabinet for each in newest if not each.online.online]
    here = {each.cabinet: each.online for each in newest if each.online.online}
    await connection.execute(
        "UPDATE cabinet SET online = FALSE, online_changed = now() WHERE id = ANY(%s) AND online", (gone,)
    )
    cursor = await connection.execute(
        "UPDATE cabinet SET online = TRUE, online_changed = CASE WHEN online THEN online_changed ELSE now() END,"
        " heard = CASE WHEN new.retained THEN heard ELSE now() END, epoch = new.epoch, boot = new.boot,"
        " software = new.software, usage_key = coalesce(nullif(cabinet.usage_key, ''), new.usage_key)"
        " FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::boolean[]) AS"
        " new (id, epoch, boot, software, usage_key, retained)"
        " WHERE cabinet.id = new.id AND revoked IS NULL RETURNING cabinet.id, cabinet.usage_key",
        _columns(
            [
                (each.cabinet, each.online.epoch, each.online.boot, each.online.software, each.online.usage_key,
                 each.retained)
                for each in newest
                if each.cabinet in here
            ],
            6,
        ),
    )  # fmt: skip
    known: dict[str, str] = dict(await cursor.fetchall())
    if missing := sorted(here.keys() - known.keys()):
        log.warning("unknown or revoked cabinets say that they are online: %s", ", ".join(missing[:10]))
    for cabinet, key in known.items():
        if here[cabinet].usage_key and here[cabinet].usage_key != key:
            detail = f"now {here[cabinet].usage_key}"
            await facts.add_log_alarm(connection, cabinet, here[cabinet].epoch, "other_key", 0, detail)
    await order_keys.report(connection, {cabinet: here[cabinet].keys for cabinet in known})
    await outlet_codes.write_stated(connection, {cabinet: here[cabinet] for cabinet in known})
    await notify(connection, gone + list(known))


async def report_unreadable(connection: Connection, reasons: Mapping[str, str]) -> None:
    """Raise an alarm for each cabinet that sends messages which this version cannot read, such as one updated first."""
    for cabinet, reason in reasons.items():
        log.warning("%s: a message cannot be read: %s", cabinet, reason)
        await connection.execute(
            "INSERT INTO log_alarm (cabinet, epoch, kind, number, detail)"
            " SELECT id, '', 'unreadable', 0, %s FROM cabinet WHERE id = %s ON CONFLICT DO NOTHING",
            (reason.replace("\0", "")[:200], cabinet),
        )


async def mark_silent(connection: Connection) -> None:
    """Mark cabinets as offline whose will was lost, as with a broker that was killed."""
    cursor = await connection.execute(
        "UPDATE cabinet SET online = FALSE, online_changed = now() WHERE online"
        f" AND heard < now() - interval '{SILENT_S} s' RETURNING id"
    )
    await notify(connection, [cabinet for (cabinet,) in await cursor.fetchall()])


async def notify(connection: Connection, cabinets: Sequence[str]) -> None:
    """Notify the live pages of these cabinets, at the commit."""
    if cabinets:
        await connection.execute(
            "SELECT pg_notify('fleet_cabinet', id) FROM unnest(%s::text[]) AS of_cabinet (id)", (list(cabinets),)
        )


def _columns(found: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    return [[row[column] for row in found] for column in range(count)]
