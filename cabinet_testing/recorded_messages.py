"""Recorded messages between cabinet and fleet: what one version sent, every later one must take.

`python -m cabinet_testing.recorded_messages` records the messages of today as the next set below `tests/data`, named
`fleet-messages-v<schema>` or, for later forms under the same schema, `fleet-messages-v<schema>.<n>`. A set is never
changed: cabinets of that version are in use.
"""

import base64
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from nacl.signing import SigningKey

from cabinet import usage_chain
from cabinet.clock import WallTime
from cabinet.model import CostLine, EndReason, Fault
from cabinet.records import Closing, SignedClosing, UsageRecord
from cabinet.uplink import messages, orders, packing
from cabinet.uplink.messages import (
    Ack,
    AlarmChanged,
    Answer,
    AskOrder,
    Certificate,
    CertificateRequest,
    Desired,
    DesiredKind,
    Down,
    Enrol,
    Enrolled,
    EnrolRefused,
    Fact,
    FactBody,
    Facts,
    FleetKey,
    Look,
    MonthClosed,
    Online,
    OrderRefused,
    OutletPlace,
    OutletReport,
    SessionSettled,
    SessionStarted,
    StartOrder,
    StateReport,
    StopOrder,
    TripReport,
    TrustKeys,
)

FOLDER = Path(__file__).parent.parent / "tests" / "data"
CABINET, EPOCH, BOOT = "rec-one", "0123456789abcdef", "recorded-boot"
RUN = "recorded"  # random word of the challenges
CHALLENGE = f"{RUN}-1"
ORDER, REFUSED_ORDER = "FRECORD1", "FRECORD2"
SESSION = "20260529-0001"
KEY = SigningKey(bytes(range(32)))  # of the fleet's orders
USAGE_KEY = SigningKey(bytes(range(1, 33)))  # of the monthly closings
NOON = WallTime(1_780_027_200_000, True)  # 2026-05-29 12:00 in Shanghai
LATER = WallTime(NOON.unix_ms + 3_600_000, True)
TARIFF = """version = "recorded"
valid_from = 2020-01-01
service_fen_per_kwh = 0
start_fee_fen = 0
minimum_fen = 0
time_bands = [{ from_w = 0, fen_per_hour = 60 }]
energy_periods = [{ start = "00:00", end = "24:00", electricity_fen_per_kwh = 60.0 }]
"""


class Recorded(msgspec.Struct, frozen=True):
    """One message: its topic below `cab/<cabinet>/`, or `POST /enrol`; its bytes; what they mean.

    `payload` is hexadecimal. In `meaning`, the bodies of facts are decoded.
    """

    topic: str
    payload: str
    meaning: dict[str, Any]

    @property
    def bytes(self) -> bytes:
        return bytes.fromhex(self.payload)


def sets() -> list[Path]:
    """Return the recorded sets, the oldest first."""
    return sorted(FOLDER.glob("fleet-messages-v*"), key=_version)


def read(folder: Path) -> dict[str, Recorded]:
    """Return the messages of a set by name."""
    return {path.stem: msgspec.json.decode(path.read_bytes(), type=Recorded) for path in sorted(folder.glob("*.json"))}


def today() -> dict[str, Recorded]:
    """Return the messages as this version makes them."""
    return dict([*_up(), *_down(), *_enrolment()])


def meaning_of(recorded: Recorded) -> dict[str, Any]:
    """Return the meaning of a recorded message for this version. Raises MessageError."""
    payload = recorded.bytes
    match recorded.topic:
        case "up/online":
            return _plain(messages.decode_online(payload))
        case "up/state":
            return _plain(messages.decode_state(payload))
        case "up/facts":
            return _of_facts(messages.decode_facts(payload))
        case "up/answer":
            return _plain(messages.decode_answer(payload))
        case "up/csr":
            return _plain(messages.decode_csr(payload))
        case "POST /enrol":
            return _plain(msgspec.json.decode(payload, type=Enrol))
        case "200 /enrol":
            return _plain(msgspec.json.decode(payload, type=Enrolled))
        case "403 /enrol":
            return _plain(msgspec.json.decode(payload, type=EnrolRefused))
        case _:
            trusted = {orders.key_id(KEY.verify_key): KEY.verify_key}
            return _plain(orders.open_signed(payload, trusted, CABINET))


def without_packing(payload: bytes) -> bytes:
    """Return a payload as its sender made it before compression, whose bytes may differ between builds of zlib."""
    return messages.unpack(payload)


# --- the messages ----------------------------------------------------------------------------------------------------


def _up() -> Iterator[tuple[str, Recorded]]:
    places = [OutletPlace(1, "RECA", 600), OutletPlace(2, "RECB", 1000)]
    online = Online(
        True, boot=BOOT, epoch=EPOCH, software="0.1", site_id="SITE", timezone="Asia/Shanghai",
        usage_key=_public(USAGE_KEY), keys=[orders.key_id(KEY.verify_key)], outlets=places,
    )  # fmt: skip
    yield "up-online", _recorded("up/online", messages.encode(online), online)
    gone = Online(False)
    yield "up-offline", _recorded("up/online", messages.encode(gone), gone)
    state = StateReport(
        at=NOON, boot=BOOT, epoch=EPOCH, challenge=CHALLENGE,
        outlets=[
            OutletReport(
                1, "in_use", refusal="outlet_busy", temperature_mc=31_000, session_id=SESSION, order=ORDER,
                phase="charging", power_mw=150_000, energy_mwh=75_000, powered_s=1800, charging_s=1790, cost_fen=30,
            ),
            OutletReport(2, "needs_service", refusal="fault_latched", fault=Fault.OUTLET_HOT, note="smells"),
        ],
        accepting=None, fault=None, feed_mw=152_000, feed_limit_mw=3_000_000, waiting=1, problems=["undervoltage"],
        software="0.1", versions={"tariffs": 1}, rejected={"out_of_service": "outlet 9 is not in cabinet.toml"},
        facts=7, acked=2,
    )  # fmt: skip
    yield "up-state", _recorded("up/state", packing.pack(messages.encode(state)), state)
    bodies = list(_fact_bodies())
    facts = Facts(EPOCH, [Fact(n, msgspec.Raw(messages.encode_fact(body))) for n, body in enumerate(bodies, 1)])
    payload = packing.pack(messages.encode(facts))
    yield "up-facts", Recorded("up/facts", payload.hex(), _of_facts(facts))
    answers = {
        "accepted": Answer(ORDER, "accepted", session_id=SESSION, epoch=EPOCH),
        "refused": Answer(REFUSED_ORDER, "refused", code="outlet_busy", epoch=EPOCH),
        "unknown": Answer("FRECORD3", "unknown", epoch=EPOCH),
        "ended": Answer(ORDER, "ended", session_id=SESSION, epoch=EPOCH, end_reason=EndReason.FULL),
    }
    for outcome, answer in answers.items():
        yield f"up-answer-{outcome}", _recorded("up/answer", messages.encode(answer), answer)
    request = CertificateRequest("-----BEGIN CERTIFICATE REQUEST-----\n…\n")
    yield "up-csr", _recorded("up/csr", messages.encode(request), request)


def _fact_bodies() -> Iterator[FactBody]:
    yield SessionStarted(SESSION, "SITE-00000001", 1, "full", 0, 500, "recorded", NOON, ORDER)
    record = UsageRecord(
        number=1, order_number=ORDER, session_id=SESSION, site_id="SITE", outlet=1, started=NOON, ended=LATER,
        powered_s=3600, charging_s=3590, energy_mwh=150_000, peak_power_mw=160_000, mean_power_mw=150_000,
        lines=[CostLine("time", 3600, "s", 60, 60, "0-", 3600), CostLine("electricity", 150_000, "mWh", 60, 9)],
        electricity_fen=9, service_fen=60, total_fen=69, held_fen=500, refund_fen=431, end_reason=EndReason.FULL,
        fault=None, tariff_version="recorded", previous_hash=usage_chain.FIRST_PREVIOUS_HASH, holder="fleet",
    )  # fmt: skip
    record = msgspec.structs.replace(record, record_hash=usage_chain.hash_of(record))
    yield SessionSettled(record, ORDER)
    yield OrderRefused(REFUSED_ORDER, "no_load")
    closing = Closing(1, "SITE", "2026-05", 1, 1, record.record_hash, 150_000, 9, 60, LATER, _public(USAGE_KEY))
    signature = USAGE_KEY.sign(usage_chain.canonical_closing(closing)).signature
    yield MonthClosed(SignedClosing(closing, base64.b64encode(signature).decode()))
    yield AlarmChanged(2, Fault.OUTLET_HOT, True, NOON)
    yield AlarmChanged(2, Fault.OUTLET_HOT, False, LATER)
    yield TripReport(2, Fault.OVERPOWER, NOON, peak_ma=30_000, session_id=SESSION)


def _down() -> Iterator[tuple[str, Recorded]]:
    start = StartOrder(
        cabinet=CABINET, epoch=EPOCH, boot=BOOT, challenge=CHALLENGE, order=ORDER, outlet=3, choice="full",
        tariff_version="recorded", held_fen=500, not_after_unix_ms=NOON.unix_ms + 30_000,
    )  # fmt: skip
    bounded = msgspec.structs.replace(
        start, order=REFUSED_ORDER, outlet=4, choice="hours", choice_amount=7200, group="staff",
        max_energy_mwh=1_000_000, max_charging_s=3600,
    )  # fmt: skip
    key = FleetKey(orders.key_id(KEY.verify_key), _public(KEY))
    values: dict[DesiredKind, Any] = {
        "tariffs": [{"file": TARIFF}],
        "out_of_service": {"5": "being repaired"},
        "blocked_cards": ["10010001"],
        "public_url": "https://charge.example",
        "sticker_text": "Scan to charge",
    }
    sent: dict[str, Down] = {
        "order-start": start,
        "order-start-bounded": bounded,
        "order-stop": StopOrder(cabinet=CABINET, epoch=EPOCH, order=ORDER, by="staff"),
        "order-ask": AskOrder(cabinet=CABINET, epoch=EPOCH, order=ORDER),
        "order-look": Look(cabinet=CABINET, challenge=CHALLENGE, seconds=30),
        "ack": Ack(cabinet=CABINET, epoch=EPOCH, number=2),
        "ack-again": Ack(cabinet=CABINET, epoch=EPOCH, number=1, again=True, challenge=CHALLENGE),
        "certificate": Certificate(cabinet=CABINET, certificate_pem="-----BEGIN CERTIFICATE-----\n…\n"),
        "keys": TrustKeys(cabinet=CABINET, keys=[key]),
    }
    for kind, value in values.items():
        encoded = msgspec.Raw(msgspec.json.encode(value))
        sent[f"desired-{kind}"] = Desired(cabinet=CABINET, what=kind, version=1, value=encoded)
    for name, message in sent.items():
        topic = f"down/{name.partition('-')[0]}"
        yield f"down-{name}", _recorded(topic, orders.sign(KEY, message), message)


def _enrolment() -> Iterator[tuple[str, Recorded]]:
    request = Enrol("ABCD-EFGH-JKLM", "-----BEGIN CERTIFICATE REQUEST-----\n…\n", "SITE")
    yield "enrol", _recorded("POST /enrol", messages.encode(request), request)
    keys = [FleetKey(orders.key_id(KEY.verify_key), _public(KEY))]
    pem = "-----BEGIN CERTIFICATE-----\n…\n"
    done = Enrolled(CABINET, pem, pem, "fleet.example", 8883, keys, "https://fleet.example")
    yield "enrol-done", _recorded("200 /enrol", messages.encode(done), done)
    refused = EnrolRefused("code_refused")
    yield "enrol-refused", _recorded("403 /enrol", messages.encode(refused), refused)


def _recorded(topic: str, payload: bytes, message: msgspec.Struct) -> Recorded:
    return Recorded(topic, payload.hex(), _plain(message))


def _plain(message: msgspec.Struct) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(messages.encode(message))
    return plain


def _of_facts(facts: Facts) -> dict[str, Any]:
    bodies = [{"number": fact.number, "body": _plain(messages.decode_fact(fact.body))} for fact in facts.facts]
    return _plain(facts) | {"facts": bodies}


def _public(key: SigningKey) -> str:
    return base64.b64encode(bytes(key.verify_key)).decode()


# --- the command -----------------------------------------------------------------------------------------------------


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.rpartition("-v")[2].split("."))


def next_set() -> Path:
    """Return the folder of the next set: the schema's first one, or its next form."""
    count = sum(_version(folder)[0] == messages.SCHEMA for folder in sets())
    return FOLDER / (f"fleet-messages-v{messages.SCHEMA}" + (f".{count}" if count else ""))


def record(folder: Path) -> None:
    """Write the messages of today as a set. Raises FileExistsError: a set is never changed."""
    folder.mkdir(parents=True)
    for name, recorded in today().items():
        text = msgspec.json.format(msgspec.json.encode(recorded), indent=1)
        (folder / f"{name}.json").write_bytes(text + b"\n")


def is_newest() -> bool:
    """Return whether the newest set holds the messages of today."""
    newest = read(sets()[-1]) if sets() else {}
    return _comparable(newest) == _comparable(today())


def _comparable(found: dict[str, Recorded]) -> dict[str, tuple[str, bytes]]:
    return {name: (each.topic, without_packing(each.bytes)) for name, each in found.items()}


def main() -> int:
    if is_newest():
        print(f"{sets()[-1].name} holds the messages of today")
        return 0
    folder = next_set()
    record(folder)
    print(f"recorded: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
