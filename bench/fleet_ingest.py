"""Ingest of facts at full speed over a bare loop of inserts: a part of `python -m bench.fleet`."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg

from cabinet import usage_chain
from cabinet.records import UsageRecord
from cabinet.uplink import messages
from cabinet.uplink.messages import Fact, Facts, SessionSettled
from cabinet_testing import fleet_scene
from cabinet_testing.fleet_postgres import FleetPostgres
from fleet import ingest
from fleet.ingest import Incoming
from fleet.sim.cabinets import SimulatedCabinet
from fleet.store import database

INGEST_FACTS = 60_000
INGEST_CABINETS = 200
INGEST_BAR = 3000  # facts a second
INGEST_RATIO_BAR = 0.5
BATCH_MESSAGES = 20


def bench_ingest(postgres: FleetPostgres) -> None:
    """Facts of settled charges at full speed: one worker's loop against a bare loop of inserts, the same batches."""
    batches = _batches()
    facts = sum(len(messages.decode_facts(each.payload).facts) for batch in batches for each in batch)
    facts_only_s = asyncio.run(_bare(postgres.fresh(), batches))
    bare_s = asyncio.run(_bare(postgres.fresh(), batches, with_records=True))
    ingest_s = asyncio.run(_ingest(postgres.fresh(), batches))
    print(
        f"ingest: {facts} facts of {INGEST_CABINETS} cabinets, {BATCH_MESSAGES} messages a transaction\n"
        f"  bare loop, facts only:               {facts / facts_only_s:8.0f} facts/s\n"
        f"  bare loop, facts and usage records:  {facts / bare_s:8.0f} facts/s\n"
        f"  one worker's ingest:                 {facts / ingest_s:8.0f} facts/s (bar {INGEST_BAR}); ratio"
        f" {bare_s / ingest_s:.2f} to both tables (bar {INGEST_RATIO_BAR}),"
        f" {facts_only_s / ingest_s:.2f} to facts only\n"
    )


def _batches() -> list[list[Incoming]]:
    each = INGEST_FACTS // INGEST_CABINETS
    incoming: list[list[Incoming]] = []
    for number in range(INGEST_CABINETS):
        sim = SimulatedCabinet(f"c-{number:05}", {}, lambda *_: None)
        while sim.number < each:
            sim.start(1)
            sim.settle(1, cost_fen=80)
        found = [Fact(key, msgspec.Raw(body)) for key, body in sim.facts.items()]
        parts = [found[start : start + messages.MAX_FACTS] for start in range(0, each, messages.MAX_FACTS)]
        incoming.append([Incoming(sim.cabinet, messages.encode(Facts(sim.epoch, part))) for part in parts])
    in_turn = [message for turn in zip(*incoming, strict=True) for message in turn]
    return [in_turn[start : start + BATCH_MESSAGES] for start in range(0, len(in_turn), BATCH_MESSAGES)]


async def _prepare(url: str) -> None:
    async with await database.connect(url) as connection:
        company = await fleet_scene.add_company(connection)
        for number in range(INGEST_CABINETS):
            await fleet_scene.add_cabinet(connection, company, f"c-{number:05}", outlets=1)


async def _bare(url: str, batches: Sequence[Sequence[Incoming]], *, with_records: bool = False) -> float:
    """Return the seconds of a loop that decodes the messages and inserts each fact, one transaction a batch.

    `with_records`: also the row of a settled charge in the usage log, without which its fact is not taken up.
    """
    await _prepare(url)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        began = time.perf_counter()
        for batch in batches:
            facts, records = [], []
            for message in batch:
                decoded = messages.decode_facts(message.payload)
                for fact in decoded.facts:
                    body = bytes(fact.body)
                    facts.append((message.cabinet, decoded.epoch, fact.number, ingest.kind_of(body), body.decode()))
                    settled = messages.decode_fact(body) if with_records else None
                    if isinstance(settled, SessionSettled):
                        records.append(_row(message.cabinet, decoded.epoch, settled.record))
            async with connection.cursor() as cursor:
                await cursor.executemany(
                    "INSERT INTO fact (cabinet, epoch, number, kind, body) VALUES (%s, %s, %s, %s, %s)"
                    " ON CONFLICT DO NOTHING",
                    facts,
                )
                if records:
                    await cursor.executemany(
                        "INSERT INTO usage_record (cabinet, epoch, number, company_id, site_id, session_id, outlet,"
                        " started_unix_ms, ended_unix_ms, energy_mwh, electricity_fen, service_fen, end_reason, body,"
                        " previous_hash, record_hash) VALUES (%s, %s, %s, 1, 1, %s, %s, %s, %s, %s, %s, %s, %s, %s,"
                        " %s, %s) ON CONFLICT DO NOTHING",
                        records,
                    )
            await connection.commit()
        return time.perf_counter() - began


def _row(cabinet: str, epoch: str, record: UsageRecord) -> tuple[Any, ...]:
    return (
        cabinet, epoch, record.number, record.session_id, record.outlet, record.started.unix_ms, record.ended.unix_ms,
        record.energy_mwh, record.electricity_fen, record.service_fen, record.end_reason.value,
        usage_chain.canonical(record).decode(), record.previous_hash, record.record_hash,
    )  # fmt: skip


async def _ingest(url: str, batches: Sequence[Sequence[Incoming]]) -> float:
    await _prepare(url)
    async with database.pool(url, 2) as pool:
        began = time.perf_counter()
        for batch in batches:
            await ingest.take_in(pool, batch)
        return time.perf_counter() - began
