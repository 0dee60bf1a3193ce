"""Pages of a service with days of history and charges in progress, on a port of this machine.

The service is the real one; the guard is a fake and the clock is manual, so that a week of charges takes seconds and
nothing changes during a measurement.
"""

import asyncio
import contextlib
import functools
import itertools
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from cabinet.clock import NS
from cabinet.model import EndReason, Fault
from cabinet.service.accounts import admin, totp
from cabinet.service.app import Service
from cabinet.service.ports import StartChoice
from cabinet.store import second_factors
from cabinet.store.database import Database
from cabinet.web.site import create_app
from cabinet_testing.service_harness import CARDS, FULL, PIN, ServiceHarness, staff_token
from cabinet_testing.trip_recording import recording

STAFF, PASSWORD = "manager", "a walk through every page"
CAREFUL = "accountant"  # signs in with the same password and a second factor
FREE, MINE, OTHERS, TRIPPED, PLUGLESS = "A7K2", "C5T4", "B3M9", "E2W7", "H6P5"
OUTLETS = {"A7K2": 1, "B3M9": 2, "C5T4": 3, "D8R6": 4, "E2W7": 5, "F9H3": 6, "G4N8": 7, "H6P5": 8, "J3X2": 9}
HOUR_S, DAY_S = 3600, 86_400
SHORT_TIME_S, LONG_TIME_S = 900, 7200
A_STEP_S = 300  # between two looks of the service at a charge
A_LOOK_S, SEEN_S = 2, 40
LOOKS = 40  # at the one that still runs, so that its curve is one
ORDINARY_DAY = (
    ("A7K2", 7200, FULL, EndReason.FULL),
    ("D8R6", 5400, FULL, EndReason.UNPLUGGED),
    ("F9H3", 10_800, FULL, EndReason.FULL),
    ("J3X2", 3900, StartChoice("hours", seconds=HOUR_S), None),  # by itself at its limit
)

Answer = TypeVar("Answer")


class SiteHarness:
    """`url` is the address of the pages. `resident`, `other` and `staff` are tokens of people who are signed in;
    `sessions` are charges of `resident`, and `plugless` the one of `other` that waits for its plug.
    """

    def __init__(self, folder: Path, days: int) -> None:
        self._harness = ServiceHarness(folder, balance_fen=20_000)
        Path(self._harness.config.paths.run).mkdir(parents=True, exist_ok=True)
        self._loop = asyncio.new_event_loop()
        self._keys = (f"request-key-of-the-site-{number}" for number in itertools.count())
        self._over = asyncio.Event()
        self._playing = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._play(days),))
        self.config = self._harness.config
        self.url = ""
        self.sessions: dict[str, str] = {}

    def do(self, act: Coroutine[Any, Any, Answer]) -> Answer:
        """Run `act` on the service's loop while the pages are open; return its result."""
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(60)

    async def goes_on(self, seconds: int, power_mw: int = 148_000) -> None:
        """Advance every charge."""
        await self._pass(seconds, lambda part_s: self._harness.guard.charge_all(part_s, power_mw))

    async def _pass(self, seconds: int, charge: Callable[[int], None]) -> None:
        """Pass the time; the last snapshots are close enough together for the load to be known."""
        seen_s = min(SEEN_S, seconds)
        charge(seconds - seen_s)
        for _ in range(seen_s // A_LOOK_S):
            charge(A_LOOK_S)
            self._harness.guard.show()
        await self._harness.settle(self._service)
        await self._service.checkpoint()

    # --- History -----------------------------------------------------------------------------------------------------

    async def _play(self, days: int) -> None:
        try:
            database = Database(admin.database_path(self._harness.config))
            admin.add_staff(database, self._harness.clock, STAFF, PASSWORD)
            admin.add_staff(database, self._harness.clock, CAREFUL, PASSWORD)
            database.close()
            async with self._harness.running() as service, self._served(service):
                await self._prepare(service, days)
                self._playing.set()
                await self._over.wait()
                service.context.changes.close()
        except BaseException as failure:
            self._failure = failure
        finally:
            self._playing.set()

    @contextlib.asynccontextmanager
    async def _served(self, service: Service):  # type: ignore[no-untyped-def]
        self._service = service
        app: Any = create_app(service, self._harness.config)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none", timeout_graceful_shutdown=1))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0)
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}"
        try:
            yield
        finally:
            server.should_exit = True
            await serving

    async def _prepare(self, service: Service, days: int) -> None:
        self.resident_ids = [(await service.accounts.resident(token)).resident_id for token in await self._phones()]
        for _day in range(days):
            await self._day()
        me, other, third = self.resident_ids
        self.sessions["tripped"] = await self._charge(me, TRIPPED, SHORT_TIME_S)
        self._harness.guard.trip(OUTLETS[TRIPPED], Fault.SHORT_CIRCUIT)
        self._record(OUTLETS[TRIPPED], self.sessions["tripped"])
        await self._harness.settle(service)
        self.sessions["stopped"] = await self._charge(me, "G4N8", LONG_TIME_S)
        await self._harness.stop(service, me, self.sessions["stopped"])
        await self._harness.settle(service)
        self.sessions["running"] = await self._begin(me, MINE)
        await self._begin(third, OTHERS)
        for number in range(LOOKS):
            await self.goes_on(SHORT_TIME_S * 4 // LOOKS, 141_000 + 240 * number)
        self.plugless = await self._begin(other, PLUGLESS)
        self.resident, self.other, _ = await self._phones()
        self.staff = await staff_token(service, STAFF, PASSWORD, "an office")
        self.import_key = await self._import()
        await self._be_careful(service)

    async def _be_careful(self, service: Service) -> None:
        actor = await service.property_.staff.actor(
            await staff_token(service, CAREFUL, PASSWORD, "an office"), "an office"
        )
        await service.property_.second_factor.begin(actor)
        row = await service.context.storage.read(lambda c: second_factors.of_staff(c, actor.staff.staff_id))
        assert row is not None
        step = self._harness.clock.wall().unix_ms // 1000 // totp.STEP_S
        await service.property_.second_factor.confirm(actor, totp.code_of(row.secret, step))

    async def _import(self) -> str:
        """Key of an import that is done; its PINs can still be seen."""
        property_ = self._service.property_
        actor = await property_.staff.actor(self.staff, "an office")
        await property_.second_factor.begin(actor)  # its page has most to show while a phone is to read it
        plan = await property_.imports.plan(actor, "card,name,balance\n10023344,王芳,20\n10023345,李伟,50".encode())
        await property_.imports.begin(actor, plan.key)
        while not property_.imports.state(actor, plan.key).rows:
            await asyncio.sleep(0.01)
        return plan.key

    async def _phones(self) -> list[str]:
        """Tokens of all residents, each signed in on a phone."""
        return [await self._service.accounts.sign_in(card, PIN, "a phone") for card in CARDS]

    async def _day(self) -> None:
        """Charges of an ordinary day, each with its own end; the rest of the day passes."""
        began_ns = self._harness.clock.monotonic_ns()
        for number, (code, seconds, choice, end) in enumerate(ORDINARY_DAY):
            session_id = await self._charge(self.resident_ids[number % len(self.resident_ids)], code, seconds, choice)
            if end is not None:
                self._harness.guard.end(OUTLETS[code], end)
                await self._harness.settle(self._service)
            self.sessions[f"day {number}"] = session_id
        while self._harness.clock.monotonic_ns() < began_ns + DAY_S * NS:
            self._harness.clock.advance_ns(A_STEP_S * NS)
            self._harness.guard.show()

    async def _begin(self, resident_id: int, code: str, choice: StartChoice = FULL) -> str:
        view = await self._service.charges.start(resident_id, code, choice, next(self._keys))
        await self._harness.settle(self._service)
        return view.session_id

    async def _charge(self, resident_id: int, code: str, seconds: int, choice: StartChoice = FULL) -> str:
        """A lithium charger: a little more each minute, then less and less."""
        session_id = await self._begin(resident_id, code, choice)
        for passed_s in range(0, seconds, A_STEP_S):
            power_mw = (
                140_000 + passed_s * 2 if passed_s < 0.75 * seconds else 150_000 * (seconds - passed_s) // seconds
            )
            await self._pass(A_STEP_S, functools.partial(self._harness.guard.charge, OUTLETS[code], power_mw=power_mw))
        return session_id

    def _record(self, outlet: int, session_id: str) -> None:
        folder = Path(self._harness.config.paths.state) / "trips"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "000001.trip").write_bytes(recording(self._harness.clock, outlet, session_id))

    def open(self) -> None:
        self._thread.start()
        self._playing.wait()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()


@contextlib.contextmanager
def served_site(folder: Path, days: int = 2) -> Iterator[SiteHarness]:
    site = SiteHarness(folder, days)
    site.open()
    try:
        yield site
    finally:
        site.close()
