"""The worker watches payments: whatever a killed web process left is taken up by itself."""

import asyncio

from nacl.signing import SigningKey

from cabinet_testing import fleet_scene as scene
from cabinet_testing import plain_broker
from fleet.config import BrokerSection
from fleet.money.payment_book import PaymentBook
from fleet.money.payment_table import PaymentStep
from fleet.order_keys import OrderKeys
from fleet.store import database, merchants, rows
from fleet.worker import Worker

WITHIN_S = 20.0


async def _no_renewal(connection, cabinet, csr_pem):
    raise NotImplementedError


def test_payment_whose_web_process_was_killed_after_its_booking_is_used_by_the_worker(url, run, broker):
    async def body():
        config = scene.config(url)
        section = BrokerSection(host=plain_broker.HOST, port=broker.port, ca="", certificate="", key="")
        whole = type(config)(database=config.database, web=config.web, broker=section)
        async with await database.connect(url, autocommit=True) as connection:
            company = await scene.add_company(connection)
            resident = await scene.add_resident(connection, company, 0)
            account = await merchants.add(connection, company.company_id, "wechat", "1900000109", "wx1", {}, b"x")
            await connection.execute(
                "INSERT INTO payment (number, company_id, resident_id, account_id, request_key, purpose, way,"
                " amount_fen, state, expires) VALUES ('PAYMENT1', %s, %s, %s, 'k', 'wallet', 'in_app', 500, 'created',"
                " now())",
                (company.company_id, resident, account),
            )
            async with connection.transaction():
                book = await PaymentBook.load(connection, ["PAYMENT1"])
                book.step("PAYMENT1", PaymentStep.PAY, paid=book.now)
                await book.write(connection)
            await connection.execute("LISTEN fleet_payment")
            worker = asyncio.create_task(Worker(whole, OrderKeys(lambda: [SigningKey.generate()]), _no_renewal).run())
            try:
                async for notice in connection.notifies(timeout=WITHIN_S, stop_after=1):
                    assert notice.payload == "PAYMENT1"
                assert await rows.value(connection, "SELECT state FROM payment") == "credited"
            finally:
                worker.cancel()
                await asyncio.gather(worker, return_exceptions=True)

    run(body())
