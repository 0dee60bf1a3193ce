"""The uplink over a real broker: what goes up arrives once, what comes down is answered."""

import asyncio

from cabinet.uplink.messages import AskOrder, Look
from cabinet_testing.fake_fleet import FakeFleet
from cabinet_testing.uplink_harness import UplinkHarness, start_order


def test_online_state_and_facts_arrive_and_are_acknowledged(broker, tmp_path):
    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-facts", broker)
        await uplink.service.add_facts(450)
        async with FakeFleet(broker).running() as fleet, uplink.running():
            await uplink.service.until(lambda: uplink.service.acked == 450)
            assert fleet.online["cab-facts"].online
            assert fleet.states["cab-facts"][0].challenge == "c1"
            assert fleet.numbers == list(range(1, 451)), "in order, once each"
            assert (await uplink.until_status("connected")).cabinet == "cab-facts"

    asyncio.run(scenario())


def test_window_of_unacknowledged_facts_is_bounded(broker, tmp_path):
    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-window", broker)
        await uplink.service.add_facts(1000)
        fleet = FakeFleet(broker)
        fleet.acknowledging = False
        async with fleet.running(), uplink.running():
            await fleet.until(lambda: fleet.contiguous("cab-window", "epoch-1") == 200)
            await uplink.service.add_facts(1)
        assert max(fleet.numbers) == 200
        assert len(fleet.numbers) == 200

    asyncio.run(scenario())


def test_signed_order_is_answered_and_a_new_state_follows(broker, tmp_path):
    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-order", broker)
        async with FakeFleet(broker).running() as fleet, uplink.running():
            await fleet.until(lambda: bool(fleet.states["cab-order"]))
            await fleet.send("order", start_order("cab-order"))
            await fleet.until(lambda: bool(fleet.answers))
            assert (fleet.answers[0].order, fleet.answers[0].outcome) == ("ORDER-0001", "accepted")
            await fleet.until(lambda: len(fleet.states["cab-order"]) > 1)
            await fleet.send("order", AskOrder(cabinet="cab-order", epoch="epoch-1", order="ORDER-0002"))
            await fleet.until(lambda: len(fleet.answers) > 1)
            assert fleet.answers[1].outcome == "unknown"

    asyncio.run(scenario())


def test_viewer_raises_the_rate_of_states(broker, tmp_path):
    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-look", broker)
        async with FakeFleet(broker).running() as fleet, uplink.running():
            await fleet.until(lambda: len(fleet.states["cab-look"]) == 1)
            await uplink.service.change(state=True)
            await fleet.send("order", Look(cabinet="cab-look", challenge="c1", seconds=30))
            await fleet.until(lambda: len(fleet.states["cab-look"]) == 2, within_s=10)

    asyncio.run(scenario())


def test_stored_order_is_refused_and_reported(broker, tmp_path):
    async def scenario() -> None:
        uplink = UplinkHarness(tmp_path, "cab-retained", broker)
        async with FakeFleet(broker).running() as fleet:
            await fleet.send("order", start_order("cab-retained"), retain=True)
            async with uplink.running():
                await uplink.service.until(lambda: uplink.service.refused == ["retained"])
                await fleet.send("order", start_order("cab-retained", "ORDER-0002"), retain=True)
                await uplink.service.until(lambda: uplink.service.refused == ["retained"] * 2)
                assert uplink.service.starts == {}

    asyncio.run(scenario())
