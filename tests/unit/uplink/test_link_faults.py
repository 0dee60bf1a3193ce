"""Faults of link, broker and fleet: nothing is lost, nothing is taken twice, and the connection comes back."""

import asyncio
import contextlib
import itertools

import pytest

from cabinet.link.uplink_protocol import UplinkQuestion
from cabinet.uplink import senders
from cabinet.uplink.messages import AskOrder
from cabinet_testing.fake_fleet import FakeFleet
from cabinet_testing.fake_uplink_service import FakeUplinkService
from cabinet_testing.fault_proxy import FaultProxy, fault_proxy
from cabinet_testing.fleet_broker import running_broker
from cabinet_testing.uplink_harness import UplinkHarness, start_order

pytestmark = pytest.mark.usefixtures("broker_installed")
MESSAGES_OF_AN_ORDER = 6  # at least: order, answer, fact and acknowledgement, each with the broker's own


@pytest.mark.parametrize("persistence", [False, True], ids=["without its disk", "with its disk"])
def test_broker_killed_and_restarted_loses_no_fact(tmp_path, persistence):
    async def scenario() -> None:
        with running_broker(tmp_path / "broker", persistence) as broker:
            uplink = UplinkHarness(tmp_path, "cab-1", broker)
            fleet = FakeFleet(broker)
            async with fleet.running(), uplink.running():
                for life in range(3):
                    await uplink.service.add_facts(300)
                    await fleet.until_facts("cab-1", 300 * life + 1)
                    broker.kill()
                    await uplink.until_status("connecting")
                    broker.start()
                    await uplink.service.until(lambda: uplink.service.acked == len(uplink.service.facts))
            assert fleet.contiguous("cab-1", "epoch-1") == 900
            assert list(fleet.facts["cab-1", "epoch-1"].values()) == uplink.service.facts

    asyncio.run(scenario())


def test_fleet_that_was_away_gets_what_waits(broker, tmp_path):
    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-waits", broker)
        async with uplink.running():
            await uplink.until_status("connected")
            await uplink.service.add_facts(500)
            fleet = FakeFleet(broker)
            async with fleet.running():  # it finds the numbers that are under way, and not those before
                await uplink.service.until(lambda: uplink.service.acked == 500, within_s=60)
            assert sorted(fleet.facts["cab-waits", "epoch-1"]) == list(range(1, 501))

    asyncio.run(scenario())


def test_silent_fleet_is_sent_one_fact_again_and_again_not_all(broker, tmp_path, monkeypatch):
    """A worker that is down for a day must not cost the data of a month."""
    monkeypatch.setattr(senders, "ACK_WITHIN_S", 0.3)
    monkeypatch.setattr(senders, "MAX_ACK_WAIT_S", 0.6)

    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-silent", broker)
        fleet = FakeFleet(broker)
        fleet.acknowledging = False
        await uplink.service.add_facts(300)
        async with fleet.running(), uplink.running():
            await fleet.until(lambda: len(fleet.numbers) == 205)
            assert fleet.numbers[200:] == [1] * 5
            fleet.acknowledging = True
            await uplink.service.until(lambda: uplink.service.acked == 300)
            assert fleet.numbers[-100:] == list(range(201, 301)), "the rest once"

    asyncio.run(scenario())


async def fate(fleet: FakeFleet, cabinet: str, order: str) -> str:
    """Return the outcome of an order as the fleet learns it: by the answer, else by asking, never by sending again."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(TimeoutError):
                await fleet.until(lambda: any(answer.order == order for answer in fleet.answers), within_s=1.5)
                return next(answer.outcome for answer in reversed(fleet.answers) if answer.order == order)
            await fleet.send("order", AskOrder(cabinet=cabinet, epoch="epoch-1", order=order))


class ServiceWithFacts(FakeUplinkService):
    """Writes a fact for each start."""

    async def _reply(self, question: UplinkQuestion) -> object:
        before = len(self.starts)
        reply = await super()._reply(question)
        if len(self.starts) > before:
            await self.add_facts(1)
        return reply


def test_link_cut_at_each_message_of_an_orders_life_loses_neither_fate_nor_fact(broker, tmp_path):
    async def scenario(proxy: FaultProxy) -> None:
        uplink = UplinkHarness(tmp_path, "cab-cut", broker, port=proxy.port)
        uplink.service = ServiceWithFacts(uplink.service.keys_file, "cab-cut")
        async with FakeFleet(broker).running() as fleet, uplink.running():
            for number in itertools.count():
                await uplink.until_status("connected")
                order, cuts, states = f"ORDER-{number:04}", proxy.cuts, len(fleet.states["cab-cut"])
                proxy.cut_at(number)
                await fleet.send("order", start_order("cab-cut", order))
                outcome = await fate(fleet, "cab-cut", order)
                assert (outcome == "accepted") == (order in uplink.service.starts), number
                await uplink.service.until(lambda: uplink.service.acked == len(uplink.service.facts), within_s=60)
                await fleet.until_states("cab-cut", states + 1)
                if proxy.cuts == cuts:
                    break  # its life had fewer messages
            assert number >= MESSAGES_OF_AN_ORDER
            assert list(fleet.facts["cab-cut", "epoch-1"].values()) == uplink.service.facts
            assert set(uplink.service.starts.values()) == {1}

    with fault_proxy(broker.host, broker.port) as proxy:
        asyncio.run(scenario(proxy))


def test_link_with_delay_and_loss_carries_everything_in_order(broker, tmp_path):
    async def scenario(proxy: FaultProxy) -> None:
        uplink = UplinkHarness(tmp_path, "cab-slow", broker, port=proxy.port)
        proxy.delay_s, proxy.loss = 0.3, 0.3
        async with FakeFleet(broker).running() as fleet, uplink.running():
            await uplink.service.add_facts(400)
            await uplink.service.until(lambda: uplink.service.acked == 400, within_s=60)
            await fleet.send("order", start_order("cab-slow"))
            await fleet.until(lambda: bool(fleet.answers), within_s=30)
            assert list(fleet.facts["cab-slow", "epoch-1"]) == list(range(1, 401))

    with fault_proxy(broker.host, broker.port, seed=7) as proxy:
        asyncio.run(scenario(proxy))


def test_link_with_two_seconds_of_delay_connects(broker, tmp_path):
    """TCP and TLS 1.3 and MQTT take three round trips of 4 s."""

    async def scenario(proxy: FaultProxy) -> None:
        uplink = UplinkHarness(tmp_path, "cab-far", broker, port=proxy.port)
        proxy.delay_s = 2.0
        async with uplink.running():
            await uplink.until_status("connected", within_s=45)

    with fault_proxy(broker.host, broker.port) as proxy:
        asyncio.run(scenario(proxy))


def test_service_that_is_gone_is_waited_for(broker, tmp_path):
    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-service", broker)
        uplink.service.present = False
        async with uplink.running():
            status = await uplink.until_status("connecting")
            while not status.error:
                await asyncio.sleep(0.02)
                status = uplink.status or status
            assert status.error.startswith("service_gone")
            uplink.service.present = True
            await uplink.until_status("connected")

    asyncio.run(scenario())


def test_facts_of_a_day_without_a_link_are_taken_up_in_order_within_a_minute(broker, tmp_path):
    """Ten outlets with thirty charges each write some 900 facts a day."""

    async def scenario(proxy: FaultProxy) -> None:
        uplink = UplinkHarness(tmp_path, "cab-day", broker, port=proxy.port)
        async with FakeFleet(broker).running() as fleet, uplink.running():
            await uplink.until_status("connected")
            proxy.down()
            await uplink.until_status("connecting")
            await uplink.service.add_facts(3000)
            proxy.up()
            await uplink.service.until(lambda: uplink.service.acked == 3000, within_s=60)
            assert list(fleet.facts["cab-day", "epoch-1"]) == list(range(1, 3001))

    with fault_proxy(broker.host, broker.port) as proxy:
        asyncio.run(scenario(proxy))
