"""Outlets and charges of residents over PostgreSQL: the fleet's implementation of `ports.ChargesPort`.

A start writes the order and waits for its answer; the worker sends it. Nothing here talks to a cabinet.
"""

import asyncio
import contextlib
import datetime
import functools
import itertools
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing

import msgspec

from cabinet.billing.tariff import Tariff
from cabinet.errors import Refused
from cabinet.model import REFUSALS
from cabinet.records import CurvePoint
from cabinet.service.charges import pricing
from cabinet.service.ports import (
    WALLET_MOVES,
    CabinetView,
    ChargesPage,
    OutletView,
    PlaceView,
    PriceView,
    SessionView,
    StartChoice,
    StatementPage,
    WaitingView,
    WalletLine,
)
from cabinet.uplink.messages import ANSWER_WITHIN_S
from fleet import orders
from fleet.config import FleetConfig
from fleet.money.paying import PAYMENT_KEY
from fleet.money.payments.accounts import MerchantAccounts
from fleet.store import cabinets, companies, database, pages, wallets
from fleet.store import orders as order_rows
from fleet.store.cabinets import CabinetRow
from fleet.store.database import Connection, Pool
from fleet.store.orders import OrderRow
from fleet.store.pages import ScannedOutlet
from fleet.store.wallets import WalletEntry
from fleet.web import views
from fleet.web.notices import CabinetNotices
from fleet.web.views import FleetOutletView, FleetPlace, FleetSessionView, NearOutlet

MAX_A_PAGE = 100
PRICED_S = 2.0  # an outlet's row is good for its prices, which a tariff changes, for so long
MAX_PRICED = 200
LOOK_S = 30  # a viewer keeps the cabinet's state coming for so long
LOOK_AGAIN_S = 15
STOP_WITHIN_S = 5.0
NEAR_SHOWN = 6
NEAR_PER_CABINET = 2

TELLS_OF_MONEY = frozenset({"cabinet_offline", "no_answer", "no_record"})
"""Refusals with a text of their own about the money."""

FLEET_MOVES = (*WALLET_MOVES, "debt_paid", "payment", "refund")


class NoQueue:
    """Implements `ports.QueuePort`: power is waited for at the cabinet only."""

    async def join(self, resident_id: int, code: str, choice: StartChoice) -> WaitingView:
        raise Refused("feed_full")

    async def leave(self, resident_id: int) -> None:
        return

    async def view(self, resident_id: int) -> WaitingView | None:
        return None


class FleetCharges:
    """Implements `ports.ChargesPort` for all cabinets of all companies."""

    def __init__(self, pool: Pool, config: FleetConfig, notices: CabinetNotices, accounts: MerchantAccounts) -> None:
        self._pool = pool
        self._accounts = accounts
        self._rules = config.orders
        self._notices = notices
        self._frame = FleetPlace(
            name=config.web.name,
            name_en=config.web.name_en,
            complaint_phone=config.web.complaint_phone,
            minimum_hold_fen=config.orders.minimum_hold_fen,
            no_load_s=views.NO_LOAD_S,
            has_queue=False,
            cabinet=CabinetView(None, False, False, None, None, 0),
            guard_reachable=True,
        )
        self.queue = NoQueue()
        self._priced: OrderedDict[str, tuple[ScannedOutlet, float]] = OrderedDict()

    # --- outlets -----------------------------------------------------------------------------------------------------

    def frame(self) -> PlaceView:
        return self._frame

    async def place(self, of: OutletView | SessionView) -> PlaceView:
        if isinstance(of, FleetOutletView):
            return of.place
        assert isinstance(of, FleetSessionView)  # all views of a fleet are its own
        async with database.reading(self._pool) as connection:
            row = await cabinets.get(connection, of.company_id, of.cabinet)
            return self._frame if row is None else await self._place(connection, row)

    async def outlet(self, code: str) -> OutletView:
        view = await self._outlet(code)
        if view.condition != "free" or view.refusal is not None:
            return view
        pays = tuple(await self._accounts.offered(self._pool, view.company_id))
        return msgspec.structs.replace(
            view, place=msgspec.structs.replace(view.place, pays=pays, full_fen=self._rules.full_hold_fen)
        )

    async def _outlet(self, code: str) -> FleetOutletView:
        async with database.reading(self._pool) as connection:
            row = await self._scanned(connection, code)
            self._remember(row)
            place = self._place_of(row, row.company, row.complaint_phone, row.now)
            priced = self._tariff(row, "") is not None
            view = views.outlet_of(row.outlet, row.code, row, place, taken=row.taken, priced=priced)
            if view.condition != "free" or view.refusal is not None:
                near = await self._near(connection, row, row.outlet)
                view = msgspec.structs.replace(view, place=msgspec.structs.replace(place, near=near))
            return view

    async def outlets(self) -> list[OutletView]:
        return []  # the front page of a fleet leads to outlets by their codes only

    async def price(self, code: str, group: str, power_w: int | None = None) -> PriceView | None:
        now = asyncio.get_running_loop().time()
        row, read_at = self._priced.get(code, (None, 0.0))
        if row is None or now - read_at > PRICED_S:
            async with database.reading(self._pool) as connection:
                row = await self._scanned(connection, code)
        tariff = self._tariff(row, group)
        if tariff is None:
            return None
        minute = pricing.SiteTime(row.timezone).minute(views.wall(row.now))
        return _price_view(tariff, minute, power_w or pricing.EXAMPLE_POWER_W)

    async def _scanned(self, connection: Connection, code: str) -> ScannedOutlet:
        """Return the outlet with this code and its cabinet. Refuses unknown_code."""
        row = await pages.scanned(connection, code)
        if row is None:
            raise Refused("unknown_code")
        return row

    def _remember(self, row: ScannedOutlet) -> None:
        """Keep the outlet for its prices, which the same page asks for next."""
        self._priced[row.code] = row, asyncio.get_running_loop().time()
        self._priced.move_to_end(row.code)
        while len(self._priced) > MAX_PRICED:
            self._priced.popitem(last=False)

    def _tariff(self, row: ScannedOutlet, group: str) -> Tariff | None:
        """Return the tariff of a charge that begins now; None if none is known."""
        try:
            return orders.chosen(orders.posted_of(row.tariffs), row, row.outlet, group, row.now)
        except Refused:
            return None

    async def _place(self, connection: Connection, row: CabinetRow) -> FleetPlace:
        company = await companies.get(connection, row.company_id)
        name, phone = ("", "") if company is None else (company.name, company.complaint_phone)
        return self._place_of(row, name, phone, await pages.now(connection))

    def _place_of(self, row: CabinetRow, company: str, phone: str, now: datetime.datetime) -> FleetPlace:
        return views.place_of(row, company, phone or self._frame.complaint_phone, self._rules.minimum_hold_fen, now)

    async def _near(self, connection: Connection, row: CabinetRow, number: int) -> tuple[NearOutlet, ...]:
        """Return free outlets: of this cabinet first, then of its site, then of the company's other sites."""
        others = await cabinets.with_free_outlets(connection, row.company_id, row.site_id, row.id)
        now = await pages.now(connection)
        candidates = [each for each in (row, *others) if orders.is_fresh(each, now)]
        prints = await pages.codes_of(connection, [each.id for each in candidates])
        codes = {(each.cabinet, each.number): each.code for each in prints}
        found = (
            list(itertools.islice(_free_of(each, codes, number if each.id == row.id else 0), most))
            for each, most in ((each, NEAR_SHOWN if each.id == row.id else NEAR_PER_CABINET) for each in candidates)
        )
        return tuple(itertools.islice(itertools.chain.from_iterable(found), NEAR_SHOWN))

    # --- charges -----------------------------------------------------------------------------------------------------

    async def start(self, resident_id: int, code: str, choice: StartChoice, request_key: str) -> SessionView:
        """Place the order and wait up to 15 s for the cabinet's answer.

        Besides the refusals of `orders.place`, refuses with the cabinet's own code, or with no_answer; then the hold is
        back already. An order without an answer is returned as it is: its page tells what happens next.
        """
        async with database.reading(self._pool) as connection:
            company_id = await self._company_of(connection, resident_id)
            cabinet = await pages.cabinet_of(connection, code)
        with self._notices.subscribed(cabinet) as changed:
            async with self._pool.connection() as connection:
                order = await orders.place(connection, self._rules, company_id, resident_id, code, choice, request_key)
            order = await self._later(order, changed, ANSWER_WITHIN_S, lambda each: each.state not in views.ON_ITS_WAY)
        if order.state in views.NOT_STARTED:
            code = order.refusal if order.refusal in REFUSALS else "no_answer"
            raise Refused(code, money_back=code not in TELLS_OF_MONEY)
        return await self.session(resident_id, order.number)

    async def stop(self, resident_id: int, session_id: str) -> SessionView:
        async with database.reading(self._pool) as connection:
            order = await self._own(connection, resident_id, session_id)
        with self._notices.subscribed(order.cabinet) as changed:
            async with self._pool.connection() as connection:
                order = await orders.want_stop(connection, order.company_id, order.number, resident_id=resident_id)
            await self._later(order, changed, STOP_WITHIN_S, lambda each: not each.open)
        return await self.session(resident_id, session_id)

    async def session(self, resident_id: int, session_id: str) -> SessionView:
        async with database.reading(self._pool) as connection:
            order = await self._own(connection, resident_id, session_id)
            return (await self._views(connection, [order]))[0]

    async def sessions(self, resident_id: int, limit: int = 20) -> list[SessionView]:
        return (await self.history(resident_id, None, limit)).charges

    async def curve(self, resident_id: int, session_id: str) -> list[CurvePoint]:
        async with database.reading(self._pool) as connection:
            order = await self._own(connection, resident_id, session_id)
            return await pages.curve(connection, order)

    async def history(self, resident_id: int, before: int | None, limit: int) -> ChargesPage:
        most = max(1, min(limit, MAX_A_PAGE))
        until = None if before is None else _moment(before)
        async with database.reading(self._pool) as connection:
            company_id = await self._company_of(connection, resident_id)
            found = await order_rows.of_resident(connection, company_id, resident_id, until, most + 1)
            shown = await self._views(connection, found[:most])
        return ChargesPage(shown, _microseconds(found[most - 1].made) if len(found) > most else None)

    async def statement(self, resident_id: int, before: int | None, limit: int) -> StatementPage:
        most = max(1, min(limit, MAX_A_PAGE))
        async with database.reading(self._pool) as connection:
            company_id = await self._company_of(connection, resident_id)
            found = await wallets.statement(connection, company_id, resident_id, before, most + 1)
        lines = [_wallet_line(each) for each in found[:most]]
        return StatementPage(lines, lines[-1].number if len(found) > most else None)

    async def changes(self, of: OutletView | SessionView) -> AsyncIterator[None]:
        """Yield as the port says; each viewer has the cabinet send its state more often."""
        assert isinstance(of, FleetOutletView | FleetSessionView)  # all views of a fleet are its own
        clock = asyncio.get_running_loop().time
        looked_at = clock() - LOOK_AGAIN_S
        async with aclosing(self._notices.watch(of.cabinet, LOOK_AGAIN_S)) as notices:
            async for _ in notices:
                if clock() - looked_at >= LOOK_AGAIN_S:
                    looked_at = clock()
                    async with self._pool.connection() as connection:
                        await cabinets.look(connection, of.company_id, of.cabinet, LOOK_S)
                yield None

    # --- orders ------------------------------------------------------------------------------------------------------

    async def _later(
        self, order: OrderRow, changed: asyncio.Event, within_s: float, done: Callable[[OrderRow], bool]
    ) -> OrderRow:
        """Return the order once it is `done`, or as it is after `within_s`."""
        clock = asyncio.get_running_loop().time
        end = clock() + within_s
        while not done(order) and (left_s := end - clock()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(left_s, 1.0))  # a notice may be lost with its connection
            changed.clear()
            async with database.reading(self._pool) as connection:
                now = await order_rows.get(connection, order.company_id, order.number)
            assert now is not None  # orders are never deleted
            order = now
        return order

    async def _company_of(self, connection: Connection, resident_id: int) -> int:
        company_id = await pages.company_of_resident(connection, resident_id)
        if company_id is None:
            raise Refused("signed_out")
        return company_id

    async def _own(self, connection: Connection, resident_id: int, number: str) -> OrderRow:
        """Return the resident's order. Refuses unknown_session, not_yours."""
        company_id = await self._company_of(connection, resident_id)
        order = await order_rows.get(connection, company_id, number)
        if order is None:
            raise Refused("unknown_session")
        if order.resident_id != resident_id:
            raise Refused("not_yours")
        return order

    async def _views(self, connection: Connection, found: list[OrderRow]) -> list[SessionView]:
        if not found:
            return []
        company_id = found[0].company_id
        settled = [order.number for order in found if order.state in views.WITH_RECORD]
        records = await pages.records_of(connection, company_id, settled) if settled else {}
        shown: list[SessionView] = []
        for order in found:
            row = await cabinets.get(connection, company_id, order.cabinet) if order.open else None
            view = views.session_of(order, row, records.get(order.number))
            shown.append(msgspec.structs.replace(view, paid_by_phone=order.request_key.startswith(PAYMENT_KEY)))
        return shown


@functools.lru_cache(maxsize=MAX_PRICED)
def _price_view(tariff: Tariff, minute: int, power_w: int) -> PriceView:
    """Return the prices with their example, which is the same for everybody within a minute."""
    return pricing.price_view(tariff, minute, power_w)


def _free_of(row: CabinetRow, codes: dict[tuple[str, int], str], but_not: int) -> Iterator[NearOutlet]:
    state = row.present()
    if state is None or state.accepting is not None or state.fault is not None:
        return
    for seen in state.outlets:
        code = codes.get((row.id, seen.number))
        if code is not None and seen.condition == "free" and seen.refusal is None and seen.number != but_not:
            yield NearOutlet(
                number=seen.number,
                code=code,
                condition="free",
                refusal=None,
                fault=None,
                session_id=None,
                power_mw=seen.power_mw,
                temperature_mc=seen.temperature_mc,
                energy_today_mwh=0,
                site=row.site,
                address=row.site_address,
                cabinet_name=row.name,
            )


def _wallet_line(entry: WalletEntry) -> WalletLine:
    kind = entry.kind if entry.kind in FLEET_MOVES else "other"
    return WalletLine(entry.number, views.wall(entry.at), kind, entry.amount_fen, entry.balance_fen, entry.order_number)


def _microseconds(moment: datetime.datetime) -> int:
    return (moment - _EPOCH) // datetime.timedelta(microseconds=1)


def _moment(microseconds: int) -> datetime.datetime:
    """Return the moment. Refuses bad_request if there is no such moment."""
    try:
        return _EPOCH + datetime.timedelta(microseconds=microseconds)
    except OverflowError:
        raise Refused("bad_request") from None


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
