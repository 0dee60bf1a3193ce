"""Rates of the fleet server: ingest, tap to answer under load, and the return of all cabinets after a broker restart.

    python -m bench.fleet                          all three, short: 1,000 cabinets
    python -m bench.fleet --cabinets 10000         as docs/reports/fleet.md; takes minutes
    python -m bench.fleet --only ingest

Everything runs on this machine: PostgreSQL (with fsync), mosquitto without TLS, one worker, and the cabinets at message
level in processes of their own. A rate is printed with its ratio to a comparison in the same run.
"""

import argparse
import asyncio
import contextlib
import time
from collections.abc import Sequence

import msgspec
import psycopg

from cabinet.uplink import messages
from cabinet.uplink.messages import Fact, Facts
from cabinet_testing import fleet_postgres, fleet_scene
from cabinet_testing.fleet_postgres import FleetPostgres
from campaigns.runner import commit, machine
from fleet import ingest
from fleet.ingest import Incoming
from fleet.sim.cabinets import SimulatedCabinet
from fleet.store import database

INGEST_FACTS = 60_000
INGEST_CABINETS = 200
INGEST_BAR = 3000  # facts a second
INGEST_RATIO_BAR = 0.5
BATCH_MESSAGES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cabinets", type=int, default=1000, metavar="N", help="connected cabinets (default: 1000)")
    parser.add_argument("--only", choices=("ingest", "evening", "return"), help="one of the three")
    args = parser.parse_args()
    if reason := fleet_postgres.missing():
        raise SystemExit(reason)
    print(f"{machine()}, commit {commit()}\n")
    with fleet_postgres.server(safe=True) as postgres:
        if args.only in (None, "ingest"):
            bench_ingest(postgres)


# --- ingest ----------------------------------------------------------------------------------------------------------


def bench_ingest(postgres: FleetPostgres) -> None:
    """Facts of settled charges at full speed: one worker's loop against a bare loop of inserts, the same batches."""
    batches = _batches()
    facts = sum(len(messages.decode_facts(each.payload).facts) for batch in batches for each in batch)
    bare_s = asyncio.run(_bare(postgres.fresh(), batches))
    ingest_s = asyncio.run(_ingest(postgres.fresh(), batches))
    print(
        f"ingest: {facts} facts of {INGEST_CABINETS} cabinets, {BATCH_MESSAGES} messages a transaction\n"
        f"  bare INSERT ... ON CONFLICT loop: {facts / bare_s:8.0f} facts/s\n"
        f"  one worker's ingest:              {facts / ingest_s:8.0f} facts/s (bar {INGEST_BAR}),"
        f" ratio {bare_s / ingest_s:.2f} (bar {INGEST_RATIO_BAR})\n"
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


async def _bare(url: str, batches: Sequence[Sequence[Incoming]]) -> float:
    """Return the seconds of a loop that decodes the messages and inserts each fact, one transaction a batch."""
    await _prepare(url)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        began = time.perf_counter()
        for batch in batches:
            rows = []
            for message in batch:
                facts = messages.decode_facts(message.payload)
                for fact in facts.facts:
                    body = bytes(fact.body)
                    kind = ingest.kind_of(body)
                    rows.append((message.cabinet, facts.epoch, fact.number, kind, body.decode()))
            async with connection.cursor() as cursor:
                await cursor.executemany(
                    "INSERT INTO fact (cabinet, epoch, number, kind, body) VALUES (%s, %s, %s, %s, %s)"
                    " ON CONFLICT DO NOTHING",
                    rows,
                )
            await connection.commit()
        return time.perf_counter() - began


async def _ingest(url: str, batches: Sequence[Sequence[Incoming]]) -> float:
    await _prepare(url)
    async with database.pool(url, 2) as pool:
        began = time.perf_counter()
        for batch in batches:
            await ingest.take_in(pool, batch)
        return time.perf_counter() - began


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
