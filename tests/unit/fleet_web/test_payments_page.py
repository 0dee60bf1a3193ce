"""The accountant's page of payments: a person decides about failed refunds and differences, within one company."""

import datetime

import pytest

from cabinet.errors import Refused
from cabinet_testing.payment_web import PLAIN_AGENT, payment_web
from fleet.money import reconciliation
from fleet.money.payments.port import BillLine
from fleet.store import residents, rows

DAY = datetime.date(2025, 12, 1)


async def _failed_refund(web):
    """Pay for a charge whose rest the platform cannot send back."""
    phone = await web.phone(PLAIN_AGENT)
    path = await phone.pay("C-ONE-3")
    await phone.confirm(path)
    await web.bench.platforms.tick()
    number = (await phone.browser.get(path)).headers["location"].rpartition("/")[2]
    web.bench.platforms.wechat.table.fail_refunds.add(f"{path.rpartition('/')[2]}R1")
    await web.settle(number, 44)
    await web.all_over()
    return path.rpartition("/")[2]


async def _differ(web):
    account = (await web.accounts.offered(web.at.pool, web.at.scene.company_id))["wechat"]
    lines = [*await account.platform.bill(DAY), BillLine("PSTRANGE", "", 700, 4, "y")]
    async with web.at.pool.connection() as connection:
        await reconciliation.compare(connection, account, DAY, lines)
        [found] = await reconciliation.open_differences(connection, web.at.scene.company_id)
    return found.id


async def test_accountant_sees_the_month_and_decides_what_waits(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        number, difference = await _failed_refund(web), await _differ(web)
        office = await web.at.office("accountant", language="en")
        shown = (await office.page("/property/payments")).text
        for word in ("2025-12", "9.00", "7.00", f"{number}R1", "1.56", "A payment that we do not know", "PSTRANGE"):
            assert word in shown, word
        answer = await office.send(f"/property/payments/differences/{difference}", note="")
        assert answer.status_code == 400
        assert (await office.send(f"/property/payments/differences/{difference}", note="by hand")).status_code == 303
        assert (await office.send(f"/property/payments/differences/{difference}", note="again")).status_code == 404
        assert (await office.send("/property/payments/refund", number=f"{number}R1")).status_code == 303
        await web.all_over()
        shown = (await office.page("/property/payments")).text
        assert "Bills and books agree" in shown
        assert "All refunds went by themselves" in shown
        async with web.at.pool.connection() as connection:
            assert await rows.value(connection, "SELECT state FROM payment") == "returned"
            cursor = await connection.execute("SELECT action FROM audit ORDER BY id DESC LIMIT 2")
            assert [action for (action,) in await cursor.fetchall()] == ["refund_again", "difference_closed"]


async def test_refund_paid_out_in_cash_is_not_sent_again(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        number = await _failed_refund(web)
        office = await web.at.office("accountant")
        for status in (303, 409):
            answer = await office.send("/property/payments/refund", number=f"{number}R1", by_hand="true")
            assert answer.status_code == status
        await web.all_over()
        assert web.bench.platforms.wechat.table.balance == {"1900000109": 200}


async def test_other_companies_viewers_and_logins_of_some_sites_do_nothing_here(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        number, difference = await _failed_refund(web), await _differ(web)
        other = await web.at.office("accountant", web.at.other)
        assert number not in (await other.page("/property/payments")).text
        assert (await other.send("/property/payments/refund", number=f"{number}R1")).status_code == 409
        assert (await other.send(f"/property/payments/differences/{difference}", note="x")).status_code == 404
        for office in (await web.at.office("viewer"), await web.at.office("accountant", groups=["north"])):
            assert (await office.get("/property/payments")).status_code == 403
            assert (await office.send("/property/payments/refund", number=f"{number}R1")).status_code == 403
        async with web.at.pool.connection() as connection:
            assert await rows.value(connection, "SELECT state FROM refund") == "failed"


async def test_erased_resident_leaves_no_name_of_a_platform_behind(url, tmp_path):
    async with payment_web(url, tmp_path) as web:
        await _failed_refund(web)
        async with web.at.pool.connection() as connection:
            company = web.at.scene.company_id
            resident = await rows.value(connection, "SELECT resident_id FROM payment")
            with pytest.raises(Refused, match="money_left"):  # it is on its way back
                await residents.erase(connection, company, resident)
            await connection.execute("UPDATE payment SET state = 'returned'")
            await residents.erase(connection, company, resident)
            assert await rows.value(connection, "SELECT count(*) FROM payer") == 0
            assert await rows.value(connection, "SELECT payer || address FROM payment") == ""
