"""Contents of WeChat Pay's answers and notifications, and the reading of its error codes. Pure."""

import datetime
from typing import Any, TypeVar

import msgspec

from fleet.money.payments.http import PlatformAnswer
from fleet.money.payments.port import PlatformRefused, RateLimited, ResultUnknown

T = TypeVar("T")

ABSENT = frozenset({"ORDER_NOT_EXIST", "ORDERNOTEXIST", "RESOURCE_NOT_EXISTS", "NO_STATEMENT_EXIST"})
LIMITED = frozenset({"FREQUENCY_LIMITED", "FREQUENCY_LIMIT_EXCEED", "RATELIMIT_EXCEEDED"})
UNKNOWN = frozenset({"SYSTEM_ERROR", "BANK_ERROR"})


class WechatAmount(msgspec.Struct):
    total: int = 0
    refund: int = 0
    currency: str = "CNY"


class WechatPayer(msgspec.Struct):
    openid: str = ""
    sp_openid: str = ""


class WechatTransaction(msgspec.Struct):
    out_trade_no: str
    trade_state: str
    mchid: str = ""
    appid: str = ""
    sp_mchid: str = ""
    sp_appid: str = ""
    sub_mchid: str = ""
    transaction_id: str = ""
    success_time: datetime.datetime | None = None
    payer: WechatPayer = msgspec.field(default_factory=WechatPayer)
    amount: WechatAmount = msgspec.field(default_factory=WechatAmount)


class WechatRefund(msgspec.Struct):
    """A refund: of an answer (`status`) or of a notification (`refund_status`)."""

    out_trade_no: str
    out_refund_no: str
    refund_id: str
    status: str = ""
    refund_status: str = ""
    mchid: str = ""
    sp_mchid: str = ""
    sub_mchid: str = ""
    amount: WechatAmount = msgspec.field(default_factory=WechatAmount)


class WechatResource(msgspec.Struct):
    algorithm: str
    ciphertext: str
    nonce: str
    associated_data: str = ""


class WechatNotification(msgspec.Struct):
    event_type: str
    resource: WechatResource


def check_status(answer: PlatformAnswer) -> None:
    """Raise for an answer that is no success: by its code, and by its status if it has none."""
    if 200 <= answer.status < 300:
        return
    try:
        found = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        found = {}
    code, detail = str(found.get("code", f"HTTP {answer.status}"))[:64], str(found.get("message", ""))[:200]
    if answer.status == 429 or code in LIMITED:
        raise RateLimited(code, detail)
    if answer.status >= 500 or code in UNKNOWN:
        raise ResultUnknown(code, detail)
    raise PlatformRefused(code, detail)


def decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ResultUnknown("bad_answer", str(error)[:200]) from error


def text_of(body: bytes, name: str) -> str:
    """Return a text of an answer. Raises ResultUnknown if there is none."""
    found = decoded(body, dict[str, Any]).get(name)
    if not isinstance(found, str) or not found:
        raise ResultUnknown("bad_answer", f"no {name}")
    return found
