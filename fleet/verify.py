"""The whole mirror of the usage logs, checked again: hashes, chain, columns, closings, gaps.

Ingest has checked each record when it arrived and raised alarms; this finds changes made in the database since.
"""

from collections.abc import AsyncIterator

import msgspec

from cabinet import usage_chain
from cabinet.records import Closing, SignedClosing, UsageRecord
from fleet.store import rows
from fleet.store.database import Connection


class LogProblem(msgspec.Struct, frozen=True):
    """A place in the mirrored log of a cabinet that is not as it was written; `number` is the record's."""

    cabinet: str
    epoch: str
    number: int
    problem: str

    def __str__(self) -> str:
        return f"{self.cabinet}, epoch {self.epoch}, record {self.number}: {self.problem}"


class VerifiedLogs(msgspec.Struct):
    """Counts of the checks; filled in while `problems` is read."""

    records: int = 0
    closings: int = 0
    logs: int = 0


class _Row(msgspec.Struct, frozen=True):
    cabinet: str
    epoch: str
    number: int
    session_id: str
    outlet: int
    energy_mwh: int
    electricity_fen: int
    service_fen: int
    body: str
    previous_hash: str
    record_hash: str


class _ClosingRow(msgspec.Struct, frozen=True):
    cabinet: str
    epoch: str
    number: int
    body: str
    signature: str
    usage_key: str


_decoder = msgspec.json.Decoder(UsageRecord)


async def problems(connection: Connection, company_id: int, verified: VerifiedLogs) -> AsyncIterator[LogProblem]:
    """Yield the problems of a company's logs, by cabinet, epoch and number. Needs an open transaction."""
    place = ("", "")
    expected, previous_hash = 1, usage_chain.FIRST_PREVIOUS_HASH
    async for row in rows.stream(
        connection,
        _Row,
        "SELECT cabinet, epoch, number, session_id, outlet, energy_mwh, electricity_fen, service_fen, body,"
        " previous_hash, record_hash FROM usage_record WHERE company_id = %s ORDER BY cabinet, epoch, number",
        (company_id,),
    ):
        if (row.cabinet, row.epoch) != place:
            place = (row.cabinet, row.epoch)
            expected, previous_hash = await _begin(connection, row)
            verified.logs += 1
        verified.records += 1
        for problem in _record_problems(row, expected, previous_hash):
            yield LogProblem(row.cabinet, row.epoch, row.number, problem)
        expected, previous_hash = row.number + 1, row.record_hash
    async for found in _closing_problems(connection, company_id, verified):
        yield found


async def _begin(connection: Connection, first: _Row) -> tuple[int, str]:
    """Return number and previous hash that the first record kept of an epoch must have.

    An epoch that repeats an earlier one begins after it: repeated records are kept once, under the earlier epoch.
    """
    followed = await rows.value(
        connection,
        "SELECT 1 FROM usage_record WHERE cabinet = %s AND number = %s AND record_hash = %s",
        (first.cabinet, first.number - 1, first.previous_hash),
    )
    return (1, usage_chain.FIRST_PREVIOUS_HASH) if followed is None else (first.number, first.previous_hash)


def _record_problems(row: _Row, expected: int, previous_hash: str) -> list[str]:
    found = []
    if row.number != expected:
        found.append(f"records {expected} to {row.number - 1} are missing")
    if usage_chain.hash_of_body(row.body.encode()) != row.record_hash:
        found.append("its contents do not give its hash")
    if row.previous_hash != previous_hash and row.number == expected:
        found.append("it does not follow the record before it")
    try:
        record = _decoder.decode(row.body)
    except msgspec.DecodeError as error:
        return [*found, f"cannot be read: {error}"]
    inside = (record.number, record.session_id, record.outlet, record.energy_mwh, record.electricity_fen,
              record.service_fen, record.previous_hash)  # fmt: skip
    outside = (row.number, row.session_id, row.outlet, row.energy_mwh, row.electricity_fen, row.service_fen,
               row.previous_hash)  # fmt: skip
    if inside != outside:
        found.append("its columns are not those of its contents")
    return found


async def _closing_problems(
    connection: Connection, company_id: int, verified: VerifiedLogs
) -> AsyncIterator[LogProblem]:
    closings = await rows.many(
        connection,
        _ClosingRow,
        "SELECT usage_closing.cabinet, usage_closing.epoch, number, body, signature, usage_key FROM usage_closing"
        " JOIN cabinet ON cabinet.id = usage_closing.cabinet WHERE company_id = %s ORDER BY 1, 2, 3",
        (company_id,),
    )
    for row in closings:
        verified.closings += 1
        closing = msgspec.json.decode(row.body, type=Closing)
        if not usage_chain.is_signed(SignedClosing(closing, row.signature), row.usage_key):
            yield LogProblem(
                row.cabinet, row.epoch, closing.last_number, "its closing is not signed with the key known"
            )
        cursor = await connection.execute(
            "SELECT count(*), sum(energy_mwh), sum(electricity_fen), sum(service_fen), max(record_hash)"
            " FILTER (WHERE number = %(last)s) FROM (SELECT DISTINCT ON (number) * FROM usage_record"
            " WHERE company_id = %(company)s AND cabinet = %(cabinet)s AND number BETWEEN %(first)s AND %(last)s"
            " ORDER BY number, epoch <> %(epoch)s) AS records",
            {
                "company": company_id, "cabinet": row.cabinet, "epoch": row.epoch, "first": closing.first_number,
                "last": closing.last_number,
            },
        )  # fmt: skip
        stated = (
            closing.last_number - closing.first_number + 1, closing.energy_mwh, closing.electricity_fen,
            closing.service_fen, closing.last_hash,
        )  # fmt: skip
        if await cursor.fetchone() != stated:
            yield LogProblem(
                row.cabinet,
                row.epoch,
                closing.last_number,
                f"the closing of {closing.month} names other sums or records",
            )
