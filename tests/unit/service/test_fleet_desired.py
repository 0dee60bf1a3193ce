"""Desired state from the fleet: by version, all or nothing, each change in the audit log."""

from typing import Any

import msgspec
import pytest

from cabinet.commands import stickers
from cabinet.service.app import Service
from cabinet.stickers.sticker import sticker_text
from cabinet.store import residents
from cabinet.uplink.messages import Desired, DesiredKind
from cabinet_testing.fleet_harness import CABINET, FleetHarness
from cabinet_testing.service_harness import CARDS, FULL, ServiceHarness, code_of

DEAR = """\
version = "dear"
service_fen_per_kwh = 0
time_bands = [{ from_w = 0, fen_per_hour = 60 }]
energy_periods = [{ start = "00:00", end = "24:00", electricity_fen_per_kwh = 51 }]
"""


@pytest.fixture
def fleet(harness: ServiceHarness) -> FleetHarness:
    return FleetHarness(harness)


async def want(fleet: FleetHarness, service: Service, what: DesiredKind, version: int, value: Any) -> None:
    desired = Desired(cabinet=CABINET, what=what, version=version, value=msgspec.Raw(msgspec.json.encode(value)))
    assert (await fleet.hand_over(service, desired)).refusal is None


def audited(harness: ServiceHarness) -> list[tuple[str, str, str]]:
    with harness.database() as connection:
        rows = connection.execute("SELECT action, subject, detail FROM audit_entry WHERE staff = 'fleet'")
        return [tuple(row) for row in rows]


async def state_of(fleet: FleetHarness, service: Service, what: str) -> tuple[int | None, str | None]:
    state = await fleet.state(service)
    return state.versions.get(what), state.rejected.get(what)


async def test_tariffs_are_posted_once_and_the_next_order_needs_them(
    harness: ServiceHarness, fleet: FleetHarness
) -> None:
    async with harness.running() as service:
        order = await fleet.order(service)
        for _ in range(2):
            await want(fleet, service, "tariffs", 1, [{"file": DEAR}])
        assert await state_of(fleet, service, "tariffs") == (1, None)
        assert (await service.charges.price("C5T4", "")).version == "dear"
        old = await fleet.send(service, order)
        new = await fleet.send(service, await fleet.order(service))
        await want(fleet, service, "tariffs", 2, [{"file": DEAR}])
    assert [(answer.outcome, answer.code) for answer in (old, new) if answer] == [
        ("refused", "tariff_changed"), ("accepted", None)
    ]  # fmt: skip
    assert audited(harness) == [("fleet_change", "tariffs 1", "dear"), ("fleet_change", "tariffs 2", "")]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([{"file": DEAR}, {"file": "version = 7"}], id="a mistake in one of two"),
        pytest.param([{"file": DEAR}, {"file": DEAR.replace("60", "61")}], id="one version twice"),
        pytest.param([{"file": DEAR}, {"file": DEAR.replace('"dear"', '"other"') + "outlets = [77]\n"}], id="no such"),
        pytest.param({"file": DEAR}, id="no list"),
    ],
)
async def test_tariffs_with_a_mistake_are_rejected_as_a_whole(
    harness: ServiceHarness, fleet: FleetHarness, value: Any
) -> None:
    async with harness.running() as service:
        before = (await service.charges.price("C5T4", "")).version
        for _ in range(2):
            await want(fleet, service, "tariffs", 1, value)
        version, reason = await state_of(fleet, service, "tariffs")
        assert version is None
        assert reason
        assert (await service.charges.price("C5T4", "")).version == before
        await want(fleet, service, "tariffs", 1, [{"file": DEAR}])  # corrected, and sent again
        assert await state_of(fleet, service, "tariffs") == (1, None)
    assert audited(harness)[0][:2] == ("fleet_refused", "tariffs 1")
    assert len(audited(harness)) == 2


async def test_an_outlet_out_of_service_takes_no_charge_and_shows_the_note(
    harness: ServiceHarness, fleet: FleetHarness
) -> None:
    async with harness.running() as service:
        await want(fleet, service, "out_of_service", 3, {"3": "being repaired"})
    async with harness.running() as service:
        view = await service.charges.outlet("C5T4")
        assert (view.condition, view.refusal, view.note) == ("needs_service", "out_of_service", "being repaired")
        assert (await fleet.state(service)).outlets[2].note == "being repaired"
        assert await code_of(service.charges.start(1, "C5T4", FULL, "k")) == "out_of_service"
        refused = await fleet.send(service, await fleet.order(service))
        assert refused is not None
        assert refused.code == "out_of_service"
        await want(fleet, service, "out_of_service", 2, {})  # older than the one in force
        assert (await service.charges.outlet("C5T4")).condition == "needs_service"
        await want(fleet, service, "out_of_service", 4, {})
        assert (await service.charges.outlet("C5T4")).condition == "free"
        await want(fleet, service, "out_of_service", 5, {"77": ""})
        assert await state_of(fleet, service, "out_of_service") == (4, "outlet 77 is not in cabinet.toml")
    assert harness.guard.commands == []


async def test_a_running_charge_goes_on_at_an_outlet_that_is_taken_out_of_service(
    harness: ServiceHarness, fleet: FleetHarness
) -> None:
    async with harness.running() as service:
        await service.charges.start(1, "C5T4", FULL, "k")
        await want(fleet, service, "out_of_service", 1, {"3": "later"})
        await harness.charge(service, 3, 60)
        assert (await service.charges.outlet("C5T4")).condition == "in_use"
        assert len(list(service.context.sessions)) == 1


async def test_the_fleet_unblocks_only_cards_that_it_blocked(harness: ServiceHarness, fleet: FleetHarness) -> None:
    async def blocked(service: Service) -> list[bool]:
        found = await service.context.storage.read(residents.all_residents)
        return [row.blocked for row in found]

    async with harness.running() as service:
        await service.context.storage.write(lambda c: residents.set_blocked(c, 2, True))
        await want(fleet, service, "blocked_cards", 1, [CARDS[0], CARDS[1], "unknown"])
        assert await blocked(service) == [True, True, False]
        await want(fleet, service, "blocked_cards", 2, [CARDS[0], CARDS[2]])
        assert await blocked(service) == [True, True, True]
    async with harness.running() as service:
        await want(fleet, service, "blocked_cards", 3, [])
        assert await blocked(service) == [False, True, False]


async def test_stickers_are_printed_with_the_address_and_text_of_the_fleet(
    harness: ServiceHarness, fleet: FleetHarness
) -> None:
    async with harness.running() as service:
        assert stickers.printed(harness.config) == (harness.config, ""), "none was given"
        await want(fleet, service, "public_url", 1, "https://charge.example")
        await want(fleet, service, "sticker_text", 1, "扫码充电 · Green Court")
        assert await state_of(fleet, service, "public_url") == (1, None)
        assert await state_of(fleet, service, "sticker_text") == (1, None)
        config, scan = stickers.printed(harness.config)
        text = sticker_text(config.site, config.outlet[2], scan)
        assert (text.address, text.domain) == ("https://charge.example/s/C5T4", "charge.example")
        assert text.scan == ("扫码充电 · Green Court", "")
        await want(fleet, service, "sticker_text", 2, "")
        assert stickers.printed(harness.config)[1] == ""
    off = msgspec.structs.replace(harness.config, uplink=msgspec.structs.replace(harness.config.uplink, enabled=False))
    assert stickers.printed(off) == (off, ""), "a cabinet that left its fleet prints its own"
    assert audited(harness)[0] == ("fleet_change", "public_url 1", "https://charge.example")


@pytest.mark.parametrize(
    ("what", "value"),
    [
        pytest.param("public_url", "charge.example", id="no scheme"),
        pytest.param("public_url", "https://charge.example/path", id="a path"),
        pytest.param("public_url", "https://" + "x" * 100, id="long address"),
        pytest.param("public_url", "https://a\nb", id="two lines"),
        pytest.param("public_url", 17, id="no text"),
        pytest.param("sticker_text", "x" * 61, id="long text"),
        pytest.param("sticker_text", "one\ntwo", id="two lines of text"),
    ],
)
async def test_an_address_or_text_that_cannot_be_printed_is_rejected(
    harness: ServiceHarness, fleet: FleetHarness, what: DesiredKind, value: Any
) -> None:
    async with harness.running() as service:
        await want(fleet, service, what, 1, value)
        version, reason = await state_of(fleet, service, what)
        assert version is None
        assert reason
        assert stickers.printed(harness.config) == (harness.config, "")
