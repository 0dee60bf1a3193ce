"""The real service on a database of its own, with a fake guard and a manual clock."""

import asyncio
import contextlib
import functools
import itertools
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import argon2
import msgspec

from cabinet import config as configuration
from cabinet.billing import ledger
from cabinet.clock import ManualClock
from cabinet.config import Config
from cabinet.errors import Refused
from cabinet.records import UsageFilter, UsageRecord
from cabinet.service.accounts import admin
from cabinet.service.app import Service
from cabinet.service.ports import SessionView, StartChoice
from cabinet.store import ledger_books, residents, usage
from cabinet.store.database import Database
from cabinet_testing.fake_guard import FakeGuard

FULL = StartChoice("full")
NOON_MS = 1_780_027_200_000  # 2026-05-29 12:00 in Shanghai

CARDS = ("10010001", "10010002", "10010003")
PIN = "4711"
QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # checking takes the work that making took


def demo_config(folder: Path, changes: dict[str, str] | None = None) -> Config:
    """Return the demo's configuration without its start fee, which tests of time and energy would have to subtract."""
    text = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    for old, new in {"start_fee_fen = 20 ": "start_fee_fen = 0 ", **(changes or {})}.items():
        assert old in text, f"demo.toml has no {old!r} to change"
        text = text.replace(old, new)
    config = _parsed(text)
    paths = msgspec.structs.replace(config.paths, state=f"{folder}/state", run=f"{folder}/run")
    return msgspec.structs.replace(config, paths=paths)


_parsed = functools.cache(configuration.parse)


@functools.cache
def _prepared(balance_fen: int, count: int) -> bytes:
    """Return a database with so many residents; making it takes longer than a test."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "cabinet.db")
        wall = ManualClock().wall()
        with database.transaction() as connection:
            for card in (*CARDS, *(f"2{number:07}" for number in range(count - len(CARDS)))):
                resident_id = residents.add(connection, card, "", QUICK.hash(PIN), wall.unix_ms)
                top_up = ledger.top_up(f"first:{resident_id}", resident_id, balance_fen)
                ledger.post(ledger_books.SqliteBooks(connection, wall), top_up)
        database.close()
        return database.path.read_bytes()


class Unsynced(sqlite3.Connection):
    """Connection that does not wait for the disk: no test here cuts its power, and the file is the same."""

    def execute(self, *args: Any) -> sqlite3.Cursor:
        return super().execute("SELECT 0") if args[0] == "PRAGMA synchronous = FULL" else super().execute(*args)


async def refusal(asked: Awaitable[object]) -> Refused:
    """Return the refusal that awaiting `asked` raises. Raises AssertionError if there is none."""
    try:
        await asked
    except Refused as refused:
        return refused
    raise AssertionError("not refused")


async def code_of(asked: Awaitable[object]) -> str:
    """Return the code of the refusal."""
    return (await refusal(asked)).code


class ServiceHarness:
    """`async with harness.running()` is one life of the service process; the fake guard continues between them."""

    def __init__(
        self, folder: Path, changes: dict[str, str] | None = None, balance_fen: int = 2000, residents: int = 3
    ) -> None:
        self.config = demo_config(folder, changes)
        self.clock = ManualClock(unix_ms=NOON_MS)
        self.boot = "boot-1"
        self.guard = FakeGuard(self.clock, len(self.config.outlet))
        self.connection_class: type[sqlite3.Connection] = Unsynced
        self.the_service: Service | None = None
        path = admin.database_path(self.config)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_prepared(balance_fen, residents))

    def new_service(self) -> Service:
        self.the_service = Service(
            self.config, self.guard.attach, self.clock, self.boot, connection_class=self.connection_class
        )
        return self.the_service

    async def open(self) -> Service:
        """Return an open service, connected to the guard, that ends by `die`."""
        service = self.new_service()
        await service.open()
        await self.guard.connect()
        return service

    @contextlib.contextmanager
    def administering(self) -> Iterator[Database]:
        """Open the file as `cabinet resident` and `cabinet staff` do."""
        with contextlib.closing(Database(admin.database_path(self.config))) as database:
            yield database

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Service]:
        """Run the service from start to an orderly end, connected to the guard."""
        service = self.new_service()
        await service.open()
        try:
            await self.guard.connect()
            await service.reconcile()
            yield service
        finally:
            self.guard.disconnect()
            await service.close()

    async def die(self, service: Service) -> None:
        """End the process: nothing in memory is written any more. Only threads and files are tidied up."""
        self.guard.disconnect()
        service.context.sessions = type(service.context.sessions)()
        service.context.guard_state.handled = dict(service.context.guard_state.written)
        with contextlib.suppress(BaseException):
            await service.close()

    async def settle(self, service: Service) -> None:
        """Let the guard's events and a snapshot arrive, and the service act on them."""
        await self.guard.tell()
        await service.reconcile()
        await self.guard.tell()
        await service.reconcile()

    async def stop(self, service: Service, resident_id: int, session_id: str) -> SessionView:
        """Stop the charge for its resident; the guard's event arrives during the wait."""
        asked = len(self.guard.commands)
        stopping = asyncio.create_task(service.charges.stop(resident_id, session_id))
        while len(self.guard.commands) == asked and not stopping.done():
            await asyncio.sleep(0)
        await self.guard.tell()
        return await stopping

    async def charge(self, service: Service, outlet: int, seconds: int, power_mw: int = 150_000) -> None:
        """Charge as the real guard does: a snapshot every 5 s, a checkpoint every 10 s."""
        for passed in range(0, seconds, 5):
            self.guard.charge(outlet, min(5, seconds - passed), power_mw)
            self.guard.show()
            if passed % 10 == 5:
                await service.checkpoint()
        await self.settle(service)

    # --- Content of the file, read by a fresh connection -------------------------------------------------------------

    def records(self) -> list[UsageRecord]:
        with self.database() as connection:
            return list(usage.found(connection, UsageFilter(), 1000))

    @contextlib.contextmanager
    def database(self):  # type: ignore[no-untyped-def]
        database = Database(admin.database_path(self.config), read_only=True)
        try:
            with database.reading() as connection:
                yield connection
        finally:
            database.close()

    def check_books(self) -> None:
        """Check: ledger balanced, chain unbroken, one record and one settlement a settled session."""
        with self.database() as connection:
            assert ledger_books.check(connection) == []
            found = usage.verify(connection)
            assert found.bad is None, found
            doubles = connection.execute(
                "SELECT session_id FROM session_transition WHERE to_state = 'settled'"
                " GROUP BY session_id HAVING count(*) != 1"
            ).fetchall()
            assert doubles == []
            held = connection.execute(
                "SELECT coalesce(sum(balance_fen), 0) FROM account WHERE name LIKE 'hold:%' AND name NOT IN"
                " (SELECT 'hold:' || session_id FROM session WHERE state != 'settled')"
            ).fetchone()[0]
            assert held == 0, "money is held for sessions that are over"

    def balance_fen(self, account: str) -> int:
        with self.database() as connection:
            return ledger_books.balance_fen(connection, account)

    def steps(self, session_id: str) -> list[str]:
        """Return the session's states, in order."""
        with self.database() as connection:
            rows = connection.execute(
                "SELECT from_state, to_state FROM session_transition WHERE session_id = ? ORDER BY id", (session_id,)
            ).fetchall()
        assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(rows)), rows
        return [rows[0][0], *(row[1] for row in rows)] if rows else []


async def staff_token(service: Service, name: str, password: str, address: str) -> str:
    """Sign in a member of staff without a second factor. Return the token."""
    token = await service.accounts.sign_in_staff(name, password, address)
    assert isinstance(token, str)
    return token


async def wait_until_settled(service: Service, view: SessionView) -> None:
    session = service.context.sessions.get(view.session_id)
    if session is not None:
        async with asyncio.timeout(5):
            await session.over.wait()
