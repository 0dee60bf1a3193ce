"""Limits of the values in facts. Pure.

One cabinet's record counts in its company's sums and files for ever, because records are never changed: a number
that no charge can have would spoil them for all cabinets. Such a fact is set aside.
"""

from cabinet.clock import WallTime
from cabinet.records import UsageRecord
from cabinet.uplink.messages import MAX_OUTLET, AlarmChanged, FactBody, SessionSettled, SessionStarted, TripReport
from fleet.store.orders import OrderRow

MAX_UNIX_MS = 4_102_444_800_000  # 2100: a clock may be wrong by years, but a moment must have a date
MAX_NUMBER = 2**53
MAX_ENERGY_MWH = 10**10  # 10 MWh
MAX_SECONDS = 10**8
MAX_FEN = 10**8  # 1,000,000 yuan
MAX_TEXT = 64


def objection(fact: FactBody) -> str | None:
    """Return the reason why the values of a fact cannot be true, or None."""
    match fact:
        case SessionSettled(record=record):
            return _of_record(record)
        case SessionStarted(started=moment) | AlarmChanged(at=moment) | TripReport(at=moment):
            return None if _is_moment(moment) else "a time that has no date"
        case _:
            return None


def objection_to_bill(order: OrderRow, record: UsageRecord) -> str | None:
    """Return the reason why a record cannot be the bill of an order, or None.

    A cabinet's own ledger allows no cost above the hold, so a bill above it is not a cabinet's.
    """
    cost_fen = record.electricity_fen + record.service_fen
    if order.sent is None:
        return f"order {order.number} was never sent: this bill is not booked"
    if record.outlet != order.outlet:
        return f"order {order.number} is for outlet {order.outlet}, not {record.outlet}: this bill is not booked"
    if cost_fen > order.held_fen:
        return f"order {order.number} has a hold of {order.held_fen} fen: a bill of {cost_fen} is not booked"
    return None


def _of_record(record: UsageRecord) -> str | None:
    limits = {
        "number": (1, record.number, MAX_NUMBER),
        "outlet": (1, record.outlet, MAX_OUTLET),
        "powered_s": (0, record.powered_s, MAX_SECONDS),
        "charging_s": (0, record.charging_s, MAX_SECONDS),
        "energy_mwh": (0, record.energy_mwh, MAX_ENERGY_MWH),
        "electricity_fen": (0, record.electricity_fen, MAX_FEN),
        "service_fen": (0, record.service_fen, MAX_FEN),
    }
    for name, (least, found, most) in limits.items():
        if not least <= found <= most:
            return f"{name} is {found}: not within {least} and {most}"
    if record.total_fen != record.electricity_fen + record.service_fen:
        return f"total_fen is {record.total_fen}: not the sum of electricity and service"
    if not (_is_moment(record.started) and _is_moment(record.ended)):
        return "a time that has no date"
    texts = (record.session_id, record.order_number, record.tariff_version, record.previous_hash, record.record_hash)
    if not record.session_id or max(map(len, texts)) > MAX_TEXT:
        return f"a text that is empty, or longer than {MAX_TEXT} characters"
    return None


def _is_moment(wall: WallTime) -> bool:
    return 0 <= wall.unix_ms <= MAX_UNIX_MS
