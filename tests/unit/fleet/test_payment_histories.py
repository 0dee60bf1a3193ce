"""Random histories of payments with kills: in the end each fen is at one place, for the books and for the platforms.

More of them: `python -m cabinet_testing.payment_histories --seeds 10000`.
"""

import pytest

from cabinet_testing.payment_histories import PaymentHistory, disagreements
from cabinet_testing.payment_scene import payment_scene
from fleet.store import rows

HISTORIES = 12


@pytest.mark.slow
@pytest.mark.parametrize("first", [1000, 2000, 3000])
def test_each_fen_is_at_one_place_after_any_history(url, run, tmp_path, first):
    async def body():
        async with payment_scene(url, tmp_path) as scene:
            for seed in range(first, first + HISTORIES):
                history = PaymentHistory(scene, seed)
                await history.run()
                assert await history.unfinished() == [], seed
            assert await disagreements(scene) == []
            async with scene.pool.connection() as connection:
                assert await rows.value(connection, "SELECT count(*) FROM payment WHERE paid IS NOT NULL") > HISTORIES
                assert await rows.value(connection, "SELECT count(*) FROM refund") > HISTORIES / 2

    run(body())


async def _paid(scene):
    row = await scene.pay_and_notify(await scene.begin_offered(await scene.resident()))
    await scene.charge(row.order_number, 113)
    await scene.all_over()
    return row


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE refund SET amount_fen = 86", "other_amount"),
        ("UPDATE payment SET amount_fen = 201", "platform:wechat"),
        ("UPDATE account SET balance_fen = balance_fen - 1 WHERE name LIKE 'platform:%'", "its postings add up"),
        ("UPDATE refund SET number = number || 'X'", "refunds"),
    ],
)
def test_harness_finds_what_does_not_agree(url, run, tmp_path, statement, found):
    async def body():
        async with payment_scene(url, tmp_path) as scene:
            await _paid(scene)
            assert await disagreements(scene) == []
            async with scene.pool.connection() as connection:
                await connection.execute("DELETE FROM platform_bill")
                await connection.execute("ALTER TABLE payment_step DROP CONSTRAINT payment_step_refund_number_fkey")
                await connection.execute(statement.encode())
            assert [problem for problem in await disagreements(scene) if found in problem]

    run(body())


def test_refund_that_the_platform_did_twice_is_found(url, run, tmp_path):
    async def body():
        async with payment_scene(url, tmp_path) as scene:
            row = await _paid(scene)
            scene.bench.now += 61
            scene.sim(row).table.refund(scene._merchant(row), row.number, "BY-HAND-AT-THE-PLATFORM", 10)
            await scene.notify()
            problems = await disagreements(scene)
            assert [each for each in problems if each.startswith("unknown_refund")]
            assert [each for each in problems if each.startswith("refunds: ours 1, theirs 2")]

    run(body())
