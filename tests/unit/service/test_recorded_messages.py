"""Messages that fleets of earlier versions sent, replayed against today's service: signed bytes → effect."""

import asyncio
import base64
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from cabinet.link import uplink_protocol
from cabinet.link.uplink_protocol import HandedOver, TrustedKey
from cabinet.model import EndReason
from cabinet.service.app import Service
from cabinet.service.charges import challenges
from cabinet.store import outbox
from cabinet.uplink import messages, orders
from cabinet.uplink.messages import MessageError
from cabinet.uplink.renewal import open_certificate, take_keys
from cabinet_testing import recorded_messages
from cabinet_testing.recorded_messages import BOOT, CABINET, CHALLENGE, EPOCH, KEY, ORDER, REFUSED_ORDER, RUN
from cabinet_testing.service_harness import CARDS, ServiceHarness

SETS = recorded_messages.sets()


class Replay:
    """The recorded cabinet: its name, epoch, boot and challenge are those that the recorded orders quote."""

    def __init__(self, harness: ServiceHarness, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.harness = harness
        self.recorded = recorded_messages.read(folder)
        uplink = msgspec.structs.replace(harness.config.uplink, enabled=True)
        harness.config = msgspec.structs.replace(harness.config, uplink=uplink)
        harness.boot = BOOT
        monkeypatch.setattr(outbox, "secrets", SimpleNamespace(token_hex=lambda _: EPOCH))
        monkeypatch.setattr(challenges, "secrets", SimpleNamespace(token_hex=lambda _: RUN))
        public = base64.b64encode(bytes(KEY.verify_key)).decode()
        keys = uplink_protocol.FleetKeys(CABINET, [TrustedKey(orders.key_id(KEY.verify_key), public)])
        uplink_protocol.write_keys(uplink_protocol.keys_file(Path(harness.config.paths.state)), keys)

    async def hand_over(self, service: Service, name: str) -> HandedOver:
        reply = await service.uplink.answer(uplink_protocol.hand_over(self.recorded[name].bytes))
        assert isinstance(reply, HandedOver), reply
        return reply

    async def answer(self, service: Service, name: str) -> messages.Answer:
        reply = await self.hand_over(service, name)
        assert reply.refusal is None
        return messages.decode_answer(reply.answer.encode())

    async def stop(self, service: Service) -> messages.Answer:
        """Hand over the stop; the guard's event arrives meanwhile."""
        stopping = asyncio.create_task(self.answer(service, "down-order-stop"))
        while not stopping.done():
            await self.harness.guard.tell()
            await asyncio.sleep(0)
        return await stopping

    async def state(self, service: Service) -> messages.StateReport:
        reply = await service.uplink.answer(uplink_protocol.AskState())
        assert isinstance(reply, uplink_protocol.StateBody)
        return messages.decode_state(bytes(reply.body))


def row_of(replay: Replay, order: str) -> sqlite3.Row:
    with replay.harness.database() as connection:
        found: sqlite3.Row = connection.execute("SELECT * FROM session WHERE fleet_order = ?", (order,)).fetchone()
    return found


@pytest.fixture(params=SETS, ids=[folder.name for folder in SETS])
def replay(request: pytest.FixtureRequest, harness: ServiceHarness, monkeypatch: pytest.MonkeyPatch) -> Replay:
    return Replay(harness, request.param, monkeypatch)


async def test_recorded_orders_start_a_charge_once_and_stop_it(replay: Replay) -> None:
    async with replay.harness.running() as service:
        await replay.hand_over(service, "down-desired-tariffs")
        state = await replay.state(service)
        assert (state.epoch, state.boot, state.challenge) == (EPOCH, BOOT, CHALLENGE)
        for _ in range(2):  # sent again: the same answer, and no second start
            answer = await replay.answer(service, "down-order-start")
            assert (answer.order, answer.outcome, answer.epoch) == (ORDER, "accepted", EPOCH)
        session = service.context.sessions.at(3)
        assert session is not None
        assert session.fleet_order == ORDER
        assert (row_of(replay, ORDER)["held_fen"], row_of(replay, ORDER)["choice"]) == (500, "full")
        bounded = await replay.answer(service, "down-order-start-bounded")
        assert (bounded.order, bounded.outcome) == (REFUSED_ORDER, "accepted")
        other = row_of(replay, REFUSED_ORDER)
        assert (other["outlet"], other["choice"], other["choice_amount"]) == (4, "hours", 7200)
        assert (other["max_energy_mwh"], other["max_charging_s"]) == (1_000_000, 3600)
        assert (await replay.answer(service, "down-order-ask")).outcome == "accepted"
        assert (await replay.stop(service)).order == ORDER
        ended = await replay.answer(service, "down-order-ask")
        assert (ended.outcome, ended.end_reason) == ("ended", EndReason.STOPPED_BY_STAFF)
        assert len([each for each in replay.harness.records() if each.order_number]) == 1


async def test_recorded_acknowledgements_looks_and_desired_things_take_effect(replay: Replay) -> None:
    async with replay.harness.running() as service:
        for kind in ("tariffs", "out_of_service", "blocked_cards", "public_url", "sticker_text"):
            assert (await replay.hand_over(service, f"down-desired-{kind}")).refusal is None
        state = await replay.state(service)
        assert state.versions == dict.fromkeys(
            ("tariffs", "out_of_service", "blocked_cards", "public_url", "sticker_text"), 1
        )
        assert state.rejected == {}
        assert state.outlets[4].note == "being repaired"
        with replay.harness.database() as connection:
            blocked = dict(connection.execute("SELECT card, blocked FROM resident").fetchall())
        assert [blocked[card] for card in CARDS] == [True, False, False]
        assert (await replay.hand_over(service, "down-order-look")).look_s == 30
        assert (await replay.answer(service, "down-order-start")).outcome == "accepted"
        await replay.stop(service)
        assert (await replay.hand_over(service, "down-ack")).refusal is None
        assert (await replay.state(service)).acked == 2
        assert (await replay.hand_over(service, "down-ack-again")).refusal is None
        assert (await replay.state(service)).acked == 1


async def test_a_recorded_order_of_another_time_is_refused(replay: Replay) -> None:
    async with replay.harness.running() as service:
        await replay.hand_over(service, "down-desired-tariffs")
        await replay.state(service)
        replay.harness.clock.advance_ns(31 * 10**9)
        answer = await replay.answer(service, "down-order-start")
        assert (answer.outcome, answer.code) == ("refused", "order_expired")
        assert replay.harness.guard.commands == []


def signed_again(payload: bytes, **fields: object) -> bytes:
    """Return a recorded message with other fields, signed."""
    body = msgspec.json.encode(msgspec.json.decode(payload[orders.HEADER_BYTES :]) | fields)
    header = payload[: 1 + orders.KEY_ID_BYTES]
    return header + KEY.sign(orders._PURPOSE + header + body).signature + body


@pytest.mark.parametrize("change", [{"v": messages.SCHEMA + 1}, {"kind": "invented"}], ids=["next schema", "kind"])
async def test_a_later_schema_or_an_unknown_kind_is_refused_and_does_nothing(
    replay: Replay, change: dict[str, object]
) -> None:
    async with replay.harness.running() as service:
        await replay.hand_over(service, "down-desired-tariffs")
        before = await replay.state(service)
        for name, recorded in replay.recorded.items():
            if recorded.topic.startswith("down/"):
                later = uplink_protocol.hand_over(signed_again(recorded.bytes, **change))
                reply = await service.uplink.answer(later)
                assert reply == HandedOver(refusal=uplink_protocol.UNKNOWN_MESSAGE), name
        assert replay.harness.guard.commands == []
        assert await replay.state(service) == before
        assert (await replay.answer(service, "down-order-start")).outcome == "accepted", "the known form still is one"


def test_recorded_keys_and_certificates_are_taken_and_those_of_the_next_schema_are_not(replay: Replay) -> None:
    """The uplink takes both itself."""
    path = uplink_protocol.keys_file(Path(replay.harness.config.paths.state))
    keys, certificate = (replay.recorded[f"down-{name}"].bytes for name in ("keys", "certificate"))
    assert take_keys(keys, path, CABINET) == [orders.key_id(KEY.verify_key)]
    assert open_certificate(certificate, path, CABINET).startswith("-----BEGIN CERTIFICATE-----")
    for take, payload in ((take_keys, keys), (open_certificate, certificate)):
        with pytest.raises(MessageError, match="schema version"):
            take(signed_again(payload, v=messages.SCHEMA + 1), path, CABINET)
