"""Bills of both platforms against our rows: each difference is found, named once, and closed by a person."""

import datetime

import pytest

from cabinet.errors import Refused
from cabinet_testing.payment_scene import payment_scene
from fleet.money import reconciliation
from fleet.money.payments.bills import fen_of, read_alipay, read_wechat, yuan_of
from fleet.money.payments.port import BillLine, ResultUnknown

DAY = datetime.date(2025, 12, 1)
NOON = datetime.datetime(2025, 12, 1, 4, tzinfo=datetime.UTC)
BOTH = pytest.mark.parametrize("platform", ["wechat", "alipay"])


@pytest.fixture
def on_scene(url, run, tmp_path):
    def on(body):
        async def whole():
            async with payment_scene(url, tmp_path) as scene:
                await body(scene)

        run(whole())

    return on


async def _charged(scene, platform="wechat"):
    """Pay 2 yuan for a charge of 1.13 and let the rest go back; return the payment."""
    row = await scene.pay_and_notify(await scene.begin_offered(await scene.resident(), platform))
    await scene.charge(row.order_number, 113)
    await scene.all_over()
    return await scene.row(row.number)


async def _found(scene):
    async with scene.pool.connection() as connection:
        found = await reconciliation.open_differences(connection, scene.scene.company_id)
    return [(each.kind, each.payment_number, each.refund_number, each.ours_fen, each.theirs_fen) for each in found]


@BOTH
def test_bill_that_agrees_leaves_its_sums_and_no_difference(on_scene, platform):
    async def body(scene):
        await _charged(scene, platform)
        assert await reconciliation.reconcile(scene.pool, await scene.account(platform), DAY) == 0
        async with scene.pool.connection() as connection:
            cursor = await connection.execute("SELECT payments, paid_fen, refunded_fen, fee_fen FROM platform_bill")
            assert await cursor.fetchall() == [(1, 200, 87, 0)]

    on_scene(body)


def test_each_kind_of_difference_is_found_and_named_once(on_scene):
    async def body(scene):
        rows = [await _charged(scene) for _ in range(3)]
        async with scene.pool.connection() as connection:  # by the database's clock, which no test moves
            await connection.execute("UPDATE refund SET made = %s, ended = %s", (NOON, NOON))
        account, ours = await scene.account(), [row.number for row in rows]
        lines = [line for line in await account.platform.bill(DAY) if line.payment_number != ours[1]]
        lines = [line for line in lines if line.refund_number != f"{ours[2]}R1"]
        wrong = next(line for line in lines if line.payment_number == ours[0] and not line.refund_number)
        lines[lines.index(wrong)] = BillLine(ours[0], "", 300, 2, "x")
        lines += [BillLine("PSTRANGE", "", 700, 4, "y"), BillLine(ours[0], "BYHAND", 5, 0, "z")]
        for _ in range(2):
            async with scene.pool.connection() as connection:
                assert await reconciliation.compare(connection, account, DAY, lines) == 6
        assert sorted(await _found(scene)) == sorted(
            [
                ("other_amount", ours[0], "", 200, 300),
                ("unknown_payment", "PSTRANGE", "", 0, 700),
                ("unknown_refund", ours[0], "BYHAND", 0, 5),
                ("missing_payment", ours[1], "", 200, 0),
                ("missing_refund", ours[1], f"{ours[1]}R1", 87, 0),
                ("missing_refund", ours[2], f"{ours[2]}R1", 87, 0),
            ]
        )

    on_scene(body)


def test_difference_is_closed_with_a_note_once_and_by_its_company_only(on_scene):
    async def body(scene):
        account, company = await scene.account(), scene.scene.company_id
        async with scene.pool.connection() as connection:
            await reconciliation.compare(connection, account, DAY, [BillLine("PSTRANGE", "", 700, 4, "y")])
            [difference] = await reconciliation.open_differences(connection, company)
            assert await reconciliation.open_differences(connection, company + 1) == []
            with pytest.raises(Refused, match="unknown_record"):
                await reconciliation.close_difference(connection, company + 1, difference.id, "wang", "not mine")
            await reconciliation.close_difference(connection, company, difference.id, "wang", "made by hand")
            with pytest.raises(Refused, match="unknown_record"):
                await reconciliation.close_difference(connection, company, difference.id, "wang", "again")
            assert await reconciliation.open_differences(connection, company) == []

    on_scene(body)


def test_bills_are_fetched_in_the_morning_and_once_a_day(on_scene):
    async def body(scene):
        await _charged(scene)
        async with scene.pool.connection() as connection:
            await connection.execute("UPDATE merchant_account SET added = '2025-11-30T12:00:00+08:00'")
        scene.accounts.forget()

        async def fetched():
            await reconciliation.every_morning(scene.pool, scene.accounts)
            async with scene.pool.connection() as connection:
                cursor = await connection.execute("SELECT DISTINCT day FROM platform_bill ORDER BY day")
                return [day.isoformat() for (day,) in await cursor.fetchall()]

        assert await fetched() == [], "before ten, yesterday's bill is not there, and the day before we had no account"
        scene.bench.now += 2 * 3600
        assert await fetched() == ["2025-11-30"]
        scene.bench.now += 86_400
        scene.bench.platforms.wechat.table.chaos = lambda: "error_before"
        scene.bench.platforms.alipay.table.chaos = lambda: "error_before"
        assert await fetched() == ["2025-11-30"], "no bill, no comparison"
        scene.bench.platforms.wechat.table.chaos = lambda: None
        scene.bench.platforms.alipay.table.chaos = lambda: None
        assert await fetched() == ["2025-11-30", "2025-12-01"]
        assert await _found(scene) == []

    on_scene(body)


@pytest.mark.parametrize(
    ("yuan", "fen"), [("0.01", 1), ("2", 200), ("12.3", 1230), ("-0.06000", -6), ("0.00000", 0), ("+1.00", 100)]
)
def test_amount_in_yuan_is_read_to_the_fen(yuan, fen):
    assert fen_of(yuan) == fen


@pytest.mark.parametrize("yuan", ["", "1,00", "0.001", "1e2", "٣", "NaN", "99999999999", " 1", "1.", ".5", "--1"])
def test_amount_that_is_none_is_refused(yuan):
    with pytest.raises(ValueError, match=r"amount|fen"):
        fen_of(yuan)


@pytest.mark.parametrize("fen", [0, 1, 99, 100, 12_345])
def test_amount_in_yuan_is_written_with_two_decimals(fen):
    assert fen_of(yuan_of(fen)) == fen
    assert yuan_of(fen)[-3] == "."


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n1,2\n", b"PK\x03\x04", b"x" * 1000])
@pytest.mark.parametrize("read", [read_wechat, read_alipay])
def test_bill_that_cannot_be_read_is_none(read, content):
    with pytest.raises(ResultUnknown, match="bad_bill"):
        read(content)
