"""Facts of cabinets into tables, each exactly once, and the numbers to acknowledge after the commit.

A batch is one transaction. Facts are stored as they came (`ON CONFLICT DO NOTHING`) and applied in the order of their
numbers, as soon as no number before them is missing. A fact that cannot be applied is set aside with the reason, and
never stops those after it: if a batch fails, each of its facts is applied by itself. The mirrored usage log is checked
while it arrives; a problem raises an alarm and stops nothing.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from psycopg.rows import class_row

from cabinet.uplink import messages
from cabinet.uplink.messages import MessageError
from fleet import states
from fleet.applying import Applier, CabinetFacts, Logs
from fleet.store import database, rows
from fleet.store import facts as store_facts
from fleet.store.database import Connection, Pool

log = logging.getLogger(__name__)

MAX_EPOCHS = 100  # of one cabinet; a new card, a restored backup or a new enrolment begins one
MAX_FORKS = 20_000  # of one cabinet; a card that is set back by a month makes some thousands
YIELD_FACTS = 50
MAX_AHEAD = 5000  # facts kept while one before them is missing; a cabinet sends one window ahead at most

Group = tuple[str, str]  # cabinet, epoch


class Incoming(NamedTuple):
    """A message on `cab/<cabinet>/up/facts`."""

    cabinet: str
    payload: bytes


class Arrived(NamedTuple):
    """One fact of a message."""

    cabinet: str
    epoch: str
    number: int
    body: bytes

    @property
    def group(self) -> Group:
        return self.cabinet, self.epoch


class Acknowledgement(NamedTuple):
    """All facts of `epoch` up to `number` are committed; if `again`, later ones came and those after it are missing."""

    cabinet: str
    epoch: str
    number: int
    again: bool = False


class PositionRow(msgspec.Struct):
    """Position of one epoch of one cabinet, with the values of the cabinet that facts need."""

    cabinet: str
    epoch: str
    number: int
    highest: int
    usage_number: int
    usage_hash: str
    closing_number: int


class _Kind(msgspec.Struct):
    kind: str = ""


async def take_in(pool: Pool, batch: Sequence[Incoming]) -> list[Acknowledgement]:
    """Commit the facts of `batch`; return what may be acknowledged now.

    Raises psycopg.Error if the database is away (`database.is_passing`); then nothing was committed, and the cabinets
    send again.
    """
    found, unreadable = _facts_of(batch)
    arrived = [fact for facts in found for fact in facts]
    try:
        async with pool.connection() as connection:
            acknowledged = await take(connection, arrived)
            await states.report_unreadable(connection, unreadable)
    except Exception as error:  # whatever the fault of a fact is, it must not stop the others
        if database.is_passing(error):
            raise  # the caller tries all again
        log.exception("a batch of %d facts failed: each is applied by itself now", len(arrived))
        acknowledged = {}
        for facts in found:
            acknowledged |= await _carefully(pool, facts)
    beyond = {fact.group for fact in arrived if fact.number > acknowledged.get(fact.group, fact.number)}
    return [Acknowledgement(*group, number, group in beyond) for group, number in acknowledged.items()]


async def _carefully(pool: Pool, arrived: Sequence[Arrived]) -> dict[Group, int]:
    try:
        async with pool.connection() as connection:
            return await take(connection, arrived, one_by_one=True)
    except Exception as error:
        if database.is_passing(error):
            raise
        log.exception("a message of %d facts cannot be stored at all; it is not acknowledged", len(arrived))
        return {}


def _facts_of(batch: Sequence[Incoming]) -> tuple[list[list[Arrived]], dict[str, str]]:
    """Return the facts of each message, and the reason for each cabinet that sent one which cannot be read."""
    found: list[list[Arrived]] = []
    unreadable: dict[str, str] = {}
    for cabinet, payload in batch:
        try:
            facts = messages.decode_facts(payload)
        except MessageError as error:
            unreadable[cabinet] = str(error)
        else:
            found.append([Arrived(cabinet, facts.epoch, fact.number, bytes(fact.body)) for fact in facts.facts])
    return found, unreadable


async def take(connection: Connection, arrived: Sequence[Arrived], *, one_by_one: bool = False) -> dict[Group, int]:
    """Store and apply facts in the caller's transaction; return the highest contiguous number of each epoch.

    With `one_by_one`, a fact that cannot be applied is set aside; without, it fails the transaction.
    """
    cabinets, positions, logs = await _begin(connection, arrived)
    for cabinet, epoch in sorted({fact.group for fact in arrived if fact.cabinet in cabinets} - positions.keys()):
        detail = f"it has {MAX_EPOCHS} already: nothing is taken of {epoch}"
        await store_facts.add_log_alarm(connection, cabinet, "", "many_logs", MAX_EPOCHS, detail)
    arrived = [fact for fact in arrived if fact.group in positions]
    if not arrived:
        return {}
    if one_by_one:
        await _apply(connection, _OneByOne(connection, cabinets, logs), positions, arrived)
    else:
        async with connection.pipeline():  # the database stores the facts while their effects are computed here
            await _apply(connection, Applier(connection, cabinets, logs), positions, arrived)
    return {group: position.number for group, position in positions.items()}


async def _apply(
    connection: Connection,
    applier: "Applier | _OneByOne",
    positions: dict[Group, PositionRow],
    arrived: Sequence[Arrived],
) -> None:
    waiting = await _store(connection, applier, positions, arrived)
    for group, bodies in waiting.items():
        position = positions[group]
        number = position.number + 1
        while number in bodies:
            body = bodies[number]
            if body is not None:
                await applier.add(position, number, body)
            if number % YIELD_FACTS == 0:
                await asyncio.sleep(0)  # an order must not wait for the end of a batch
            position.number = number
            number += 1
    await applier.write()
    await _write_positions(connection, positions.values())
    await connection.execute(
        "SELECT pg_notify('fleet_cabinet', id) FROM unnest(%b::text[]) AS of_cabinet (id)",
        (sorted({cabinet for cabinet, _ in waiting}),),
    )


class _OneByOne:
    """An `Applier` for each fact, inside a savepoint: used after a batch has failed, to find the fact that fails."""

    def __init__(self, connection: Connection, cabinets: dict[str, CabinetFacts], logs: Logs) -> None:
        self._connection = connection
        self._cabinets = cabinets
        self._logs = logs

    async def add(self, position: PositionRow, number: int, body: bytes, *, fork: bool = False) -> None:
        before = msgspec.structs.asdict(position)
        try:
            async with self._connection.transaction():
                applier = Applier(self._connection, self._cabinets, self._logs)
                await applier.add(position, number, body, fork=fork)
                await applier.write()
        except Exception as error:
            if database.is_passing(error):
                raise
            for name, value in before.items():
                setattr(position, name, value)
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}".replace("\0", "")[:500]
            log.error("%s: fact %d of epoch %s is set aside: %s", position.cabinet, number, position.epoch, reason)
            if not fork:
                await self._connection.execute(
                    "UPDATE fact SET refused = %s WHERE cabinet = %s AND epoch = %s AND number = %s",
                    (reason, position.cabinet, position.epoch, number),
                )

    async def write(self) -> None:
        """Do nothing: each fact was written at once."""


async def _begin(
    connection: Connection, arrived: Sequence[Arrived]
) -> tuple[dict[str, CabinetFacts], dict[Group, PositionRow], Logs]:
    """Return the known cabinets, the position of each epoch, locked in one order for all, and the logs of each cabinet.

    A new epoch begins at 0; one that would be more than `MAX_EPOCHS` of its cabinet is left out. Nothing of a cabinet
    that is unknown or revoked is taken, nor acknowledged. One round trip.
    """
    wanted = sorted({fact.cabinet for fact in arrived})
    groups = sorted({fact.group for fact in arrived})
    columns = [[cabinet for cabinet, _ in groups], [epoch for _, epoch in groups]]
    known = "EXISTS (SELECT 1 FROM cabinet WHERE id = wanted.cabinet AND revoked IS NULL)"
    async with (
        connection.cursor(row_factory=class_row(CabinetFacts)) as cabinets,
        connection.cursor(row_factory=class_row(PositionRow)) as positions,
    ):
        async with connection.pipeline():
            await cabinets.execute(
                "SELECT id, company_id, site_id, usage_key FROM cabinet WHERE id = ANY(%b) AND revoked IS NULL",
                (wanted,),
            )
            await connection.execute(
                "INSERT INTO fact_position (cabinet, epoch) SELECT cabinet, epoch FROM"
                " (SELECT cabinet, epoch, row_number() OVER (PARTITION BY cabinet ORDER BY epoch) AS place"
                f" FROM unnest(%b::text[], %b::text[]) AS wanted (cabinet, epoch) WHERE {known} AND NOT EXISTS"
                " (SELECT 1 FROM fact_position AS old WHERE old.cabinet = wanted.cabinet AND old.epoch = wanted.epoch))"
                " AS new WHERE place + (SELECT count(*) FROM fact_position AS old WHERE old.cabinet = new.cabinet)"
                " <= %s ON CONFLICT DO NOTHING".encode(),
                (*columns, MAX_EPOCHS),
            )
            await positions.execute(
                "SELECT cabinet, epoch, number, highest, usage_number, usage_hash, closing_number"
                " FROM fact_position AS wanted WHERE (cabinet, epoch) IN (SELECT * FROM unnest(%b::text[], %b::text[]))"
                f" AND {known} ORDER BY cabinet, epoch FOR UPDATE OF wanted".encode(),
                columns,
            )
            logs = await connection.execute(
                "SELECT cabinet, epoch, usage_number FROM fact_position WHERE cabinet = ANY(%b)", (wanted,)
            )
        of_cabinet = {row.id: row for row in await cabinets.fetchall()}
        of_group = {(row.cabinet, row.epoch): row for row in await positions.fetchall() if row.cabinet in of_cabinet}
    if missing := set(wanted) - of_cabinet.keys():
        log.warning("facts of unknown or revoked cabinets are not taken: %s", ", ".join(sorted(missing)[:10]))
    found: Logs = {}
    for cabinet, epoch, number in await logs.fetchall():
        found.setdefault(cabinet, {})[epoch] = number
    return of_cabinet, of_group, found


async def _store(
    connection: Connection,
    applier: "Applier | _OneByOne",
    positions: dict[Group, PositionRow],
    arrived: Sequence[Arrived],
) -> dict[Group, dict[int, bytes | None]]:
    """Insert the facts that are new; return those of each epoch that are not applied yet: None if it is set aside."""
    waiting: dict[Group, dict[int, bytes | None]] = {}
    known: list[Arrived] = []
    for fact in arrived:
        position, bodies = positions[fact.group], waiting.setdefault(fact.group, {})
        if fact.number <= position.number or fact.number in bodies:
            known.append(fact)
        elif fact.number > position.number + MAX_AHEAD:
            log.warning("%s: fact %d is too far ahead of %d", fact.cabinet, fact.number, position.number)
        else:
            bodies[fact.number] = fact.body
    held = [group for group in waiting if positions[group].highest > positions[group].number]
    for group, kept in (await _kept(connection, positions, held)).items():
        for number, body in kept.items():
            again = waiting[group].get(number)
            if again is not None:
                known.append(Arrived(*group, number, again))
            waiting[group][number] = body
    new = [
        Arrived(*group, number, body)
        for group, bodies in waiting.items()
        for number, body in bodies.items()
        if body is not None
    ]
    await connection.execute(
        "INSERT INTO fact (cabinet, epoch, number, kind, body)"
        # Bodies in binary (%b): the escapes of a text array would cost more than everything else together.
        " SELECT * FROM unnest(%b::text[], %b::text[], %b::bigint[], %b::text[], %b::text[]) ON CONFLICT DO NOTHING",
        (
            [fact.cabinet for fact in new],
            [fact.epoch for fact in new],
            [fact.number for fact in new],
            [kind_of(fact.body) for fact in new],
            [fact.body.decode("utf-8", "replace") for fact in new],
        ),
    )
    for group, bodies in waiting.items():
        positions[group].highest = max(positions[group].highest, *bodies, 0)
    if known:
        await _check_known(connection, applier, positions, known)
    return waiting


async def _kept(
    connection: Connection, positions: dict[Group, PositionRow], groups: Sequence[Group]
) -> dict[Group, dict[int, bytes | None]]:
    """Return facts of earlier batches that waited for a missing one; None for one that was set aside."""
    if not groups:
        return {}
    cursor = await connection.execute(
        "SELECT fact.cabinet, fact.epoch, fact.number, body, refused"
        " FROM unnest(%b::text[], %b::text[], %b::bigint[]) AS past (cabinet, epoch, number)"
        " JOIN fact ON fact.cabinet = past.cabinet AND fact.epoch = past.epoch AND fact.number > past.number",
        (
            [cabinet for cabinet, _ in groups],
            [epoch for _, epoch in groups],
            [positions[group].number for group in groups],
        ),
    )
    found: dict[Group, dict[int, bytes | None]] = {}
    for cabinet, epoch, number, body, refused in await cursor.fetchall():
        found.setdefault((cabinet, epoch), {})[number] = body.encode() if refused is None else None
    return found


async def _check_known(
    connection: Connection,
    applier: "Applier | _OneByOne",
    positions: dict[Group, PositionRow],
    known: Sequence[Arrived],
) -> None:
    """Compare facts that were sent again with those that are kept; a different one is a fork, and is kept too."""
    cursor = await connection.execute(
        "SELECT fact.cabinet, fact.epoch, fact.number, body"
        " FROM unnest(%b::text[], %b::text[], %b::bigint[]) AS again (cabinet, epoch, number)"
        " JOIN fact USING (cabinet, epoch, number)",
        (
            [fact.cabinet for fact in known],
            [fact.epoch for fact in known],
            [fact.number for fact in known],
        ),
    )
    kept = {(cabinet, epoch, number): body for cabinet, epoch, number, body in await cursor.fetchall()}
    forks: dict[str, int] = {}
    for fact in known:
        body = fact.body.decode("utf-8", "replace")
        if kept.get((fact.cabinet, fact.epoch, fact.number), body) == body:
            continue
        if fact.cabinet not in forks:
            sql = "SELECT count(*) FROM fact_fork WHERE cabinet = %s"
            forks[fact.cabinet] = await rows.value(connection, sql, (fact.cabinet,))
        if forks[fact.cabinet] >= MAX_FORKS:
            detail = f"it has {MAX_FORKS} already: no further one is taken"
            await store_facts.add_log_alarm(connection, fact.cabinet, "", "many_forks", MAX_FORKS, detail)
            continue
        added = await rows.changed(
            connection,
            "INSERT INTO fact_fork (cabinet, epoch, number, kind, body, body_hash) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            (*fact[:3], kind_of(fact.body), body, hashlib.sha256(fact.body).hexdigest()),
        )
        if added:
            forks[fact.cabinet] += 1
            detail = "a second, different fact under this number"
            await store_facts.add_log_alarm(connection, fact.cabinet, fact.epoch, "fork", fact.number, detail)
            await applier.add(positions[fact.group], fact.number, fact.body, fork=True)


async def _write_positions(connection: Connection, positions: Iterable[PositionRow]) -> None:
    changed = list(positions)
    await connection.execute(
        "UPDATE fact_position SET number = new.number, highest = new.highest, usage_number = new.usage_number,"
        " usage_hash = new.usage_hash, closing_number = new.closing_number FROM unnest(%b::text[], %b::text[],"
        " %b::bigint[], %b::bigint[], %b::bigint[], %b::text[], %b::bigint[]) AS"
        " new (cabinet, epoch, number, highest, usage_number, usage_hash, closing_number)"
        " WHERE fact_position.cabinet = new.cabinet AND fact_position.epoch = new.epoch",
        [[getattr(row, name) for row in changed] for name in PositionRow.__struct_fields__],
    )


def kind_of(body: bytes) -> str:
    """Return the kind of a fact as it says itself; empty if it says none."""
    try:
        return msgspec.json.decode(body, type=_Kind).kind.replace("\0", "")[:64]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
