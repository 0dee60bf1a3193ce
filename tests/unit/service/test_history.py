"""A resident's own history: charges and movements of money, a page at a time, of no other resident."""

from pathlib import Path

from cabinet.service.accounts import wallets
from cabinet_testing.service_harness import CARDS, FULL, ServiceHarness


async def test_pages_of_charges_hold_every_charge_once_and_nobody_elses(harness: ServiceHarness) -> None:
    async with harness.running() as service:
        mine = []
        for turn in range(5):
            for resident_id, code, outlet in ((1, "C5T4", 3), (2, "D8R6", 4)):
                view = await service.charges.start(resident_id, code, FULL, f"a-request-key-{turn}")
                await harness.charge(service, outlet, 20)
                await harness.stop(service, resident_id, view.session_id)
                await harness.settle(service)
                mine += [view.session_id] if resident_id == 1 else []
        seen, before, pages = [], None, 0
        while True:
            page = await service.charges.history(1, before, 2)
            seen += [charge.session_id for charge in page.charges]
            pages += 1
            if page.older is None:
                break
            before = page.older
        assert (seen, pages) == (mine[::-1], 3)


async def test_the_statement_lists_every_movement_with_the_balance_after_it(tmp_path: Path) -> None:
    harness = ServiceHarness(tmp_path, balance_fen=2000)
    async with harness.running() as service:
        view = await service.charges.start(1, "C5T4", FULL, "a-request-key")
        await harness.charge(service, 3, 3600)
        await harness.stop(service, 1, view.session_id)
        await harness.settle(service)
        over = await service.charges.session(1, view.session_id)
        with harness.administering() as database:
            wallets.top_up(database, harness.clock, CARDS[0], 500)
            wallets.give_back(database, harness.clock, over.order_number, 5, "k", "wrong outlet")
            wallets.pay_out(database, harness.clock, CARDS[0], 100, "k")
        page = await service.charges.statement(1, None, 10)
        told = [(line.kind, line.amount_fen, line.balance_fen, line.session_id) for line in page.lines[::-1]]
        rest = 2000 - over.cost_fen
        assert told == [
            ("top_up", 2000, 2000, None),
            ("hold", -500, 1500, view.session_id),
            ("settle", 500 - over.cost_fen, rest, view.session_id),
            ("top_up", 500, rest + 500, None),
            ("give_back", 5, rest + 505, view.session_id),
            ("pay_out", -100, rest + 405, None),
        ]
        assert page.older is None
        newest = await service.charges.statement(1, None, 2)
        older = await service.charges.statement(1, newest.older, 2)
        assert newest.lines + older.lines == page.lines[:4]
        assert len((await service.charges.statement(2, None, 10)).lines) == 1
