"""Rates of the fleet server, in parts; each prints the machine, the commit, and its ratios or bars.

    python -m bench.fleet                          all, short: 1,000 cabinets, a minute, 100,000 records
    python -m bench.fleet --cabinets 10000 --records 1000000     as in docs/fleet.md; takes minutes
    python -m bench.fleet --only ingest

  ingest   facts at full speed by one worker, over a bare loop of inserts with the same batches in the same run
  evening  states, facts and taps of an evening: processor time, lag, tap to answer; then the return of all cabinets
           after the broker was killed
  pages    weight of a resident's page and its latency at 200 requests/s, the list of 1,000 cabinets, all usage
           records as a file, with the memory of the web process

Everything runs on this machine: PostgreSQL (with fsync), mosquitto without TLS, one worker, one web process, and the
cabinets at message level in processes of their own.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey
from psycopg.types.json import Jsonb

from bench.fleet_ingest import bench_ingest
from bench.fleet_pages import bench_pages
from cabinet.service.ports import StartChoice
from cabinet.uplink.orders import key_id
from cabinet_testing import fleet_postgres, fleet_scene, plain_broker
from cabinet_testing.fleet_postgres import FleetPostgres
from cabinet_testing.plain_broker import PlainBroker
from campaigns.runner import commit, machine
from fleet import orders
from fleet.sim import crowd
from fleet.store import database, rows, wallets
from fleet.store import orders as orders_table
from fleet.trust import TrustFolder

CABINETS_A_PROCESS = 5000
MESSAGES_PER_S = 350.0  # of a busy evening of 10,000 cabinets: a state a minute of those that charge, and facts
FACTS_SHARE = 0.1
TAPS_PER_S = 5.0
MAX_TAPS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cabinets", type=int, default=1000, metavar="N", help="connected cabinets (default: 1000)")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="of a load (default: 60)")
    parser.add_argument("--records", type=int, default=100_000, metavar="N", help="in the file (default: 100000)")
    parser.add_argument("--only", choices=("ingest", "evening", "pages"), help="one part")
    args = parser.parse_args()
    if reason := fleet_postgres.missing() or plain_broker.missing():
        raise SystemExit(reason)
    print(f"{machine()}, commit {commit()}\n")
    with fleet_postgres.server(safe=True) as postgres:
        if args.only in (None, "ingest"):
            bench_ingest(postgres)
        if args.only in (None, "evening"):
            with plain_broker.running() as broker:
                asyncio.run(Evening(postgres, broker, args.cabinets).run(args.seconds))
        if args.only in (None, "pages"):
            bench_pages(postgres, args.seconds, args.records)


# --- an evening, and the return after a restart of the broker ---------------------------------------------------------


class Evening:
    """A worker as a process, and crowds of cabinets as processes, on one broker and one database."""

    def __init__(self, postgres: FleetPostgres, broker: PlainBroker, cabinets: int) -> None:
        self._postgres = postgres
        self._broker = broker
        self._names = [f"c-{number:05}" for number in range(cabinets)]
        self._url = postgres.fresh()
        self._key = SigningKey.generate()
        self._crowds: list[tuple[Any, Pipe]] = []

    async def run(self, seconds: float) -> None:
        residents = await self._prepare()
        with tempfile.TemporaryDirectory() as folder, self._worker(Path(folder)) as worker, self._crowd_processes():
            started = await self._ask("start")
            print(f"evening: {len(self._names)} cabinets connected in {max(each['s'] for each in started):.1f} s")
            await self._everyone_known()
            used = _cpu_seconds({"worker": worker.pid, "broker": self._broker.pid, "PostgreSQL": self._postgres.pid})
            began = time.monotonic()
            await self._ask("load", MESSAGES_PER_S / len(self._crowds), FACTS_SHARE)
            taps = await self._taps(residents, seconds)
            found = await self._ask("quiet")
            elapsed = time.monotonic() - began
            after = _cpu_seconds({"worker": worker.pid, "broker": self._broker.pid, "PostgreSQL": self._postgres.pid})
            lags = sorted(lag for each in found for lag in each["lags_s"])
            cores = {name: (after[name] - used[name]) / elapsed for name in used}
            print(
                f"  {sum(each['sent'] for each in found) / elapsed:.0f} messages/s for {elapsed:.0f} s:"
                f" {', '.join(f'{name} {share:.2f}' for name, share in cores.items())},"
                f" together {sum(cores.values()):.2f} cores (bar 1)\n"
                f"  fact sent to its acknowledgement here: {_percentiles(lags)} (bar p99 1 s)\n"
                f"  tap to the cabinet's answer: {_percentiles(taps)} (bar p99 0.5 s)"
            )
            await self._end_charges(residents)
            await self._return()

    async def _everyone_known(self) -> None:
        """Wait until the fleet has the state of all."""
        async with await database.connect(self._url, autocommit=True) as connection:
            began = time.monotonic()
            sql = "SELECT count(*) FROM desired JOIN cabinet ON id = cabinet WHERE online AND applied_version = 1"
            while await rows.value(connection, sql) < len(self._names):
                await asyncio.sleep(0.1)
            print(f"  the states of all were in the database {time.monotonic() - began:.1f} s later")

    async def _prepare(self) -> list[int]:
        """Fill the database with statements for all at once; return residents, one an order."""
        async with await database.connect(self._url) as connection:
            company = await fleet_scene.add_company(connection)
            await connection.execute(
                "INSERT INTO cabinet (id, company_id, site_id, name) SELECT id, %s, %s, id FROM unnest(%s::text[])"
                " AS new (id)",
                (company.company_id, company.site_id, self._names),
            )
            await connection.execute(
                "INSERT INTO desired (cabinet, kind, version, value) SELECT id, 'tariffs', 1, %s FROM cabinet",
                (Jsonb([{"file": fleet_scene.TARIFF}]),),
            )
            self._company = company.company_id
            return [await fleet_scene.add_resident(connection, company, 5000) for _ in range(MAX_TAPS)]

    @contextlib.contextmanager
    def _worker(self, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Run `fleet work` as a process, without TLS."""
        config = folder / "fleet.toml"
        config.write_text(
            f'[database]\nurl = "{self._url}"\n[web]\npublic_url = "http://127.0.0.1:8090"\n[broker]\n'
            f'host = "{plain_broker.HOST}"\nport = {self._broker.port}\nca = ""\ncertificate = ""\nkey = ""\n'
        )
        trust = TrustFolder(folder / "trust")
        trust.path.mkdir()
        trust.add_order_key()
        self._key = trust.signing_keys()[0]
        process = subprocess.Popen([sys.executable, "-m", "fleet.main", "work", "--config", str(config)])
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)

    @contextlib.contextmanager
    def _crowd_processes(self) -> Iterator[None]:
        keys = {key_id(self._key.verify_key): bytes(self._key.verify_key)}
        spawn = multiprocessing.get_context("spawn")
        count = -(-len(self._names) // CABINETS_A_PROCESS)
        for number in range(count):
            mine, theirs = spawn.Pipe()
            names = self._names[number::count]
            process = spawn.Process(
                target=crowd.run, args=(theirs, names, keys, plain_broker.HOST, self._broker.port), daemon=True
            )
            process.start()
            self._crowds.append((process, mine))
        try:
            yield
        finally:
            for process, pipe in self._crowds:
                pipe.close()
                process.terminate()
                process.join(10)

    async def _ask(self, *request: Any) -> list[dict[str, Any]]:
        for _, pipe in self._crowds:
            pipe.send(request)
        return [await asyncio.to_thread(pipe.recv) for _, pipe in self._crowds]

    async def _settled(self, reached: Callable[[dict[str, Any]], bool], within_s: float = 300.0) -> float:
        """Wait until all crowds say so; return the seconds."""
        began = time.monotonic()
        while not all(reached(each) for each in await self._ask("look")):
            if time.monotonic() - began > within_s:
                raise SystemExit(f"not within {within_s:.0f} s: {await self._ask('look')}")
            await asyncio.sleep(0.2)
        return time.monotonic() - began

    async def _taps(self, residents: Sequence[int], seconds: float) -> list[float]:
        """Place orders at random cabinets during `seconds`; return the seconds from each tap to the answer."""
        rules = fleet_scene.config().orders
        taken: dict[str, asyncio.Future[None]] = {}
        latencies: list[float] = []
        done = asyncio.Event()
        self._orders: list[str] = []

        async def answered(connection: database.Connection) -> None:
            while not done.is_set():
                async for notice in connection.notifies(timeout=0.5, stop_after=1):
                    for number, future in list(taken.items()):
                        if number.startswith(f"{notice.payload} ") and not future.done():
                            row = await orders_table.get(reading, self._company, number.split()[1])
                            if row is not None and row.answered is not None:
                                future.set_result(None)

        async def tap(pool: database.Pool, resident: int, cabinet: str) -> None:
            began = time.perf_counter()
            async with pool.connection() as connection:
                order = await orders.place(
                    connection, rules, self._company, resident, f"{cabinet}-1".upper(), StartChoice("full"), "tap"
                )
            key = f"{cabinet} {order.number}"
            future = taken[key] = asyncio.get_running_loop().create_future()
            async with asyncio.timeout(60):
                await future
            del taken[key]
            self._orders.append(order.number)
            latencies.append(time.perf_counter() - began)

        async with (
            await database.connect(self._url, autocommit=True) as listening,
            await database.connect(self._url, autocommit=True) as reading,
            database.pool(self._url, 4) as pool,
        ):
            await listening.execute("LISTEN fleet_cabinet")
            watcher = asyncio.create_task(answered(listening))
            count = min(len(residents), len(self._names), int(seconds * TAPS_PER_S))
            places = random.sample(self._names, count)
            tasks = []
            for resident, cabinet in zip(residents, places, strict=False):
                tasks.append(asyncio.create_task(tap(pool, resident, cabinet)))
                await asyncio.sleep(random.expovariate(TAPS_PER_S))
            await asyncio.gather(*tasks)
            done.set()
            await watcher
        return sorted(latencies)

    async def _end_charges(self, residents: Sequence[int]) -> None:
        """Settle all orders, and check that no fen is lost or made."""
        await self._ask("end_charges", 130)
        await self._settled(lambda found: found["unacked"] == 0)
        async with await database.connect(self._url) as connection:
            problems = await wallets.check(connection, self._company)
            cursor = await connection.execute("SELECT state, count(*) FROM charge_order GROUP BY state")
            states: dict[str, int] = dict(await cursor.fetchall())
        print(f"  orders: {states}; the books: {problems or 'in order'}")

    async def _return(self) -> None:
        """Kill the broker, start it again, and wait until all are back and everything is acknowledged."""
        await self._ask("load", MESSAGES_PER_S / len(self._crowds), FACTS_SHARE)
        self._broker.stop(kill=True)
        await self._settled(lambda found: found["connected"] == 0)
        self._broker.start()
        everyone = await self._settled(lambda found: found["connected"] >= len(self._names) // len(self._crowds))
        await self._ask("quiet")
        caught_up = await self._settled(lambda found: found["unacked"] == 0)
        facts = sum(each["facts"] for each in await self._ask("look"))
        async with await database.connect(self._url) as connection:
            kept = await rows.value(connection, "SELECT count(*) FROM fact")
            alarms = await rows.value(connection, "SELECT count(*) FROM log_alarm")
        print(
            f"return: after a kill of the broker all {len(self._names)} are back in {everyone:.0f} s (bar 300 s),"
            f" all facts acknowledged {caught_up:.0f} s later; written {facts}, kept {kept}, alarms {alarms}"
        )


def _percentiles(values: Sequence[float]) -> str:
    if not values:
        return "nothing measured"
    at = [values[min(len(values) - 1, int(len(values) * share))] for share in (0.5, 0.99)]
    return f"p50 {at[0] * 1000:.0f} ms, p99 {at[1] * 1000:.0f} ms, longest {values[-1] * 1000:.0f} ms of {len(values)}"


def _cpu_seconds(processes: dict[str, int]) -> dict[str, float]:
    """Return the processor time of each process with its children, also those that ended."""
    ticks = os.sysconf("SC_CLK_TCK")
    parents: dict[int, list[int]] = {}
    times: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            pid = int(path.parent.name)
            parents.setdefault(int(fields[1]), []).append(pid)
            times[pid] = sum(map(int, fields[11:15])) / ticks

    def whole(pid: int) -> float:
        return times.get(pid, 0.0) + sum(whole(child) for child in parents.get(pid, []))

    return {name: whole(pid) for name, pid in processes.items()}


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
