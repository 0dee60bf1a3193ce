"""Pages of the fleet: weight and time of a resident's page, list of a thousand cabinets, file of a million records.

A part of `python -m bench.fleet`. `fleet serve` runs as a process of its own, and so does the load: each request has
its time in advance, and its latency counts from that time, also when the requests before it are late.
"""

import asyncio
import contextlib
import datetime
import multiprocessing
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urljoin

import msgspec

from cabinet.normal_form import digits
from cabinet.web.export import MEDIA_TYPES
from cabinet_testing import fleet_scene
from cabinet_testing.fleet_postgres import FleetPostgres
from cabinet_testing.fleet_web import usage_record
from campaigns.runner import percentile
from fleet.store import database, logins, staff
from fleet.web.accounts import token_hash

CABINETS = 1000
RATE_PER_S = 200
FIRST_VISIT_BAR_KB, P99_BAR_MS = 40, 50
CONNECTIONS = 40
LISTS = {
    "first page": "/property",
    "last page": "/property?page=20",
    "search": "/property?find=c-0099",
    "sort by load": "/property?sort=load",
    "only full": "/property?condition=full&sort=heard",
}
LIST_REQUESTS = 40
FILE = "/property/usage.csv?from=2026-01-01&to=2029-12-31"
RECORDS_AT_ONCE = 50_000
RECEIVE_BYTES = 1 << 16
RESIDENT, STAFF = "bench-resident", "bench-staff"


def bench_pages(postgres: FleetPostgres, seconds: float, records: int) -> None:
    """Measure all three, and print them with their bars."""
    url = postgres.fresh()
    asyncio.run(_prepare(url, records))
    with _served(url) as (process, address):
        kilobytes, requests = _first_visit(address, f"/s/{_code(0)}")
        print(
            f"pages: {CABINETS} cabinets, {records} records, one web process\n"
            f"  outlet's page, first visit: {kilobytes:.1f} kB in {requests} requests (bar {FIRST_VISIT_BAR_KB} kB)"
        )
        used_s = _cpu_s(process.pid)
        took_ms = _load(address, seconds)
        page_ms = (_cpu_s(process.pid) - used_s) * 1000 / len(took_ms)
        print(
            f"  outlet's page, signed in, {RATE_PER_S} requests/s for {seconds:.0f} s: {_times(took_ms)}"
            f" (bar p99 {P99_BAR_MS} ms),"
            f" {page_ms:.1f} ms of processor time each in the web process"
        )
        for what, path in LISTS.items():
            times_ms = sorted(_get(address, path, STAFF) for _ in range(LIST_REQUESTS))
            print(f"  list of cabinets, {what}: {_times(times_ms)}")
        _export(address, process.pid, records)


def _code(cabinet: int) -> str:
    return fleet_scene.code_of(f"c-{cabinet:05}", 1)


# --- the database, and the web process -------------------------------------------------------------------------------


async def _prepare(url: str, records: int) -> None:
    async with await database.connect(url) as connection:
        company = await fleet_scene.add_company(connection)
        await fleet_scene.add_cabinet(connection, company, "c-00000")
        await connection.execute(  # all as the first one
            "INSERT INTO cabinet SELECT (jsonb_populate_record(cabinet, jsonb_build_object('id', id_of, 'name', id_of,"
            " 'feed_mw', number * 1000, 'free_outlets', number %% 11))).* FROM cabinet, generate_series(1, %(last)s) AS"
            " number, LATERAL (SELECT 'c-' || lpad(number::text, 5, '0') AS id_of) AS new",
            {"last": CABINETS - 1},
        )
        for table in ("outlet", "desired"):
            fields = "'cabinet', cabinet.id, 'code', upper(cabinet.id) || '-' || number" if table == "outlet" else (
                "'cabinet', cabinet.id"
            )  # fmt: skip
            await connection.execute(
                f"INSERT INTO {table} SELECT (jsonb_populate_record({table}, jsonb_build_object({fields}))).*"
                f" FROM {table}, cabinet WHERE cabinet.id <> 'c-00000'".encode()
            )
        resident_id = await fleet_scene.add_resident(connection, company, 5000)
        staff_id = await staff.add(connection, company.company_id, "bench", "-", "operator")
        lasts = datetime.timedelta(days=1)
        await logins.add(connection, token_hash(RESIDENT), lasts, resident_id=resident_id)
        await logins.add(connection, token_hash(STAFF), lasts, staff_id=staff_id)
        await connection.commit()
        for first in range(1, records + 1, RECORDS_AT_ONCE):
            await _add_records(connection, first, min(first + RECORDS_AT_ONCE, records + 1) - 1)
            await connection.commit()
    async with await database.connect(url, autocommit=True) as connection:
        await connection.execute("VACUUM ANALYZE")


async def _add_records(connection: database.Connection, first: int, last: int) -> None:
    """Mirror records, spread over all cabinets, at a second's distance."""
    body = msgspec.json.encode(msgspec.structs.replace(usage_record(1, 1, 44, 500), record_hash="")).decode()
    await connection.execute(
        "INSERT INTO usage_record (cabinet, epoch, number, company_id, site_id, session_id, outlet, started_unix_ms,"
        " ended_unix_ms, energy_mwh, electricity_fen, service_fen, end_reason, body, previous_hash, record_hash)"
        " SELECT cabinet.id, 'epoch-1', each / %(cabinets)s + 1, company_id, site_id, 's' || each, 1,"
        " 1795500000000 + each * 1000, 1795503600000 + each * 1000, 352900, 30, 14, 'full',"
        " replace(%(body)s, '\"number\":1,', '\"number\":' || each / %(cabinets)s + 1 || ','), '',"
        " lpad(each::text, 64, '0')"
        " FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS each"
        " JOIN cabinet ON cabinet.id = 'c-' || lpad((each %% %(cabinets)s)::text, 5, '0')",
        {"cabinets": CABINETS, "body": body, "first": first, "last": last},
    )


@contextlib.contextmanager
def _served(url: str) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    """Run `fleet serve` for the block; give the process and its address."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "fleet.toml"
        config.write_text(
            f'[database]\nurl = "{url}"\n[web]\npublic_url = "http://127.0.0.1:1"\nport = 0\n'
            "connections_per_address = 400\n"
        )
        command = [sys.executable, "-m", "fleet.main", "serve", "--config", str(config)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            host, _, port = process.stdout.readline().split()[1].removeprefix("http://").rpartition(":")
            yield process, (host, int(digits(port)))
        finally:
            process.terminate()
            process.wait(20)


# --- requests --------------------------------------------------------------------------------------------------------


def _request(path: str, cookie: str, close: bool = False) -> bytes:
    cookies = {RESIDENT: f"Cookie: resident={RESIDENT}\r\n", STAFF: f"Cookie: staff={STAFF}\r\n"}.get(cookie, "")
    ending = "Connection: close\r\n" if close else ""
    return f"GET {path} HTTP/1.1\r\nHost: fleet\r\nAccept-Encoding: gzip\r\n{cookies}{ending}\r\n".encode()


def _fetched(address: tuple[str, int], path: str, cookie: str = "") -> bytes:
    """Return everything that the server sends on the wire, headers included. Raises SystemExit unless it is 200."""
    found = bytearray()
    with socket.create_connection(address, 30) as connection:
        connection.sendall(_request(path, cookie, close=True))
        while part := connection.recv(RECEIVE_BYTES):
            found += part
    if not found.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"{path}: {bytes(found[:80])!r}")
    return bytes(found)


def _get(address: tuple[str, int], path: str, cookie: str) -> float:
    """Return the milliseconds of a request, with its connection."""
    began = time.perf_counter()
    _fetched(address, path, cookie)
    return (time.perf_counter() - began) * 1000


def _first_visit(address: tuple[str, int], path: str) -> tuple[float, int]:
    """Return the kilobytes on the wire of a page with everything that it loads, and the number of requests."""
    page = _fetched(address, path)
    text = page.partition(b"\r\n\r\n")[2].decode(errors="replace")
    loaded = set(re.findall(r'<link\b[^>]*?href="([^"]+)"', text) + re.findall(r'\bsrc="([^"]+)"', text))
    parts = {urljoin(path, each) for each in loaded if not each.startswith("data:")}
    return (len(page) + sum(len(_fetched(address, each)) for each in parts)) / 1000, 1 + len(parts)


def _load(address: tuple[str, int], seconds: float) -> list[float]:
    """Return the milliseconds of each request at the rate, ascending; the load is a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_load_process, (address, seconds))


def _load_process(address: tuple[str, int], seconds: float) -> list[float]:
    return sorted(asyncio.run(_open_loop(address, seconds)))


async def _open_loop(address: tuple[str, int], seconds: float) -> list[float]:
    loop = asyncio.get_running_loop()
    intended: asyncio.Queue[tuple[float, int] | None] = asyncio.Queue()
    took_ms: list[float] = []

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection(*address)
        while (turn := await intended.get()) is not None:
            at, number = turn
            writer.write(_request(f"/s/{_code(number % CABINETS)}", RESIDENT))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            assert length is not None, head
            await reader.readexactly(int(length[1]))
            took_ms.append((loop.time() - at) * 1000)
        writer.close()

    connections = [asyncio.create_task(one_connection()) for _ in range(CONNECTIONS)]
    began = loop.time()
    for number in range(int(seconds * RATE_PER_S)):
        at = began + number / RATE_PER_S
        if (wait_s := at - loop.time()) > 0:
            await asyncio.sleep(wait_s)
        intended.put_nowait((at, number))
    for _ in connections:
        intended.put_nowait(None)
    await asyncio.gather(*connections)
    return took_ms


# --- the file of all records -----------------------------------------------------------------------------------------


def _export(address: tuple[str, int], pid: int, records: int) -> None:
    """Read the file as it comes; print time and rate, and the memory of the web process at a tenth and at its peak."""
    before_kb, tenth_kb, lines, size = _memory_kb(pid), 0, 0, 0
    began = time.perf_counter()
    with socket.create_connection(address, 60) as connection:
        connection.sendall(_request(FILE, STAFF, close=True))
        head = connection.recv(RECEIVE_BYTES)
        assert head.startswith(b"HTTP/1.1 200"), head[:200]
        assert MEDIA_TYPES["csv"].split(";")[0].encode() in head, head[:400]
        part = head
        while part:
            size += len(part)
            lines += part.count(b"\n")
            if not tenth_kb and lines >= records // 10:
                tenth_kb = _memory_kb(pid)
            part = connection.recv(RECEIVE_BYTES)
    seconds = time.perf_counter() - began
    peak_kb = _status_kb(pid, "VmHWM")
    print(
        f"  file of {records} records (CSV): {seconds:.1f} s, {size / 1e6 / seconds:.1f} MB/s; memory of the"
        f" web process {before_kb / 1000:.0f} MB before, {tenth_kb / 1000:.0f} MB after a tenth,"
        f" {peak_kb / 1000:.0f} MB at most\n"
    )
    if lines < records:
        raise SystemExit(f"the file has {lines} lines for {records} records")


def _memory_kb(pid: int) -> int:
    return _status_kb(pid, "VmRSS")


def _status_kb(pid: int, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _times(ascending_ms: Sequence[float]) -> str:
    p50, p99 = (percentile(ascending_ms, share) for share in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {ascending_ms[-1]:.1f} ms of {len(ascending_ms)}"
