"""WeChat Pay, simulated: API v3 for JSAPI and H5, direct and partner, with certificates, a public key, and both.

Written from the documented behaviour (pay.weixin.qq.com, as of 2026), not from our adapter.
"""

import datetime
import hashlib
import json
import re
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx

from fleet.sim.payments.keys import SimCertificate, SimKey, fits, make_certificate, new_key, seal
from fleet.sim.payments.notices import Notices, Outgoing
from fleet.sim.payments.trades import SimRefund, SimRefusal, SimTrade, TradeTable
from fleet.sim.payments.web import SimReply, SimRequest, json_reply, page_reply, redirect_reply
from fleet.sim.payments.wechat_bill import bill_file

LADDER_S = (15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600)
CLOCK_S = 300
CHINA = datetime.timezone(datetime.timedelta(hours=8))

REFUSALS = {
    "other_contents": (400, "INVALID_REQUEST"), "is_paid": (400, "ORDERPAID"), "is_closed": (400, "ORDER_CLOSED"),
    "too_late": (400, "PARAM_ERROR"), "bad_value": (400, "PARAM_ERROR"), "no_trade": (404, "ORDER_NOT_EXIST"),
    "not_paid": (400, "INVALID_REQUEST"), "too_much": (400, "INVALID_REQUEST"),
    "too_many_refunds": (400, "INVALID_REQUEST"), "too_often": (429, "FREQUENCY_LIMITED"),
    "no_balance": (403, "NOT_ENOUGH"), "no_refund": (404, "RESOURCE_NOT_EXISTS"),
    "no_bill": (400, "NO_STATEMENT_EXIST"), "no_merchant": (401, "SIGN_ERROR"), "bad_code": (400, "40029"),
}  # fmt: skip
_FIELD = re.compile(r'(\w+)="([^"]*)"')
_TRADE_PATH = re.compile(r"/v3/pay/(?:partner/)?transactions/out-trade-no/([\w*|-]+)(/close)?")


class SimMerchant:
    """A merchant, or a service provider with its sub-merchants."""

    def __init__(self, merchant: str, app: str, now: datetime.datetime, subs: tuple[str, ...] = ()) -> None:
        self.merchant, self.app, self.subs = merchant, app, subs
        self.certificate = make_certificate(merchant, None, now)
        self.api_key = secrets.token_hex(16)
        self.app_secret = secrets.token_hex(16)
        self.asks_for_public_key = False


class SimWechat:
    """The platform. `send_with`: names of the keys that sign notifications, used in turn."""

    def __init__(
        self, clock: Callable[[], float], address: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.clock, self.address = clock, address
        self.table = TradeTable(clock)
        self.notices = Notices(clock, LADDER_S, lambda answer: answer.status_code in (200, 204), transport)
        self.merchants: dict[str, SimMerchant] = {}
        self.certificates = [make_certificate("Tenpay", None, self._now())]
        self.offered = [self.certificates[0]]  # by /v3/certificates
        self.public_key = new_key()
        self.public_name = "PUB_KEY_ID_0114232134912410000000000000"
        self.send_with = [self.certificates[0].number]
        self.prepared: dict[str, SimTrade] = {}
        self.codes: dict[str, str] = {}
        self.person = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"
        self._sent = 0

    def _now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.clock(), datetime.UTC)

    def add_merchant(self, merchant: str, app: str, subs: tuple[str, ...] = ()) -> SimMerchant:
        made = self.merchants[merchant] = SimMerchant(merchant, app, self._now(), subs)
        return made

    def rotate(self) -> SimCertificate:
        """Make the next certificate, and sign with it from now on."""
        made = make_certificate("Tenpay", None, self._now())
        self.certificates.append(made)
        self.offered.append(made)
        self.send_with = [made.number]
        return made

    # --- requests ----------------------------------------------------------------------------------------------------

    async def handle(self, request: SimRequest) -> SimReply:
        if request.path.startswith(("/connect/", "/sns/", "/sim/")):
            return self._person(request)
        try:
            merchant = self._authenticated(request)
        except SimRefusal:
            return json_reply(401, {"code": "SIGN_ERROR", "message": "签名错误"})
        if request.path.startswith("/v3/billdownload/"):
            return SimReply(200, bill_file(self.table, merchant.merchant, request.query["day"], request.query["sub"]))
        fault = self.table.next_fault()
        if fault == "limit":
            return self._signed(merchant, request, 429, {"code": "FREQUENCY_LIMITED", "message": "频率超限"})
        if fault == "error_before":
            return json_reply(500, {"code": "SYSTEM_ERROR", "message": "系统错误"})
        try:
            status, value = self._answer(merchant, request)
        except SimRefusal as refusal:
            status, code = REFUSALS[str(refusal)]
            value = {"code": code, "message": str(refusal)}
        if fault == "error_after":
            return json_reply(502, {})
        reply = self._signed(merchant, request, status, value)
        if fault == "forged":
            return SimReply(reply.status, reply.body + b" ", reply.headers)
        return reply

    def _authenticated(self, request: SimRequest) -> SimMerchant:
        """Return the merchant that signed the request."""
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        fields = dict(_FIELD.findall(rest))
        merchant = self.merchants.get(fields.get("mchid", ""))
        if scheme != "WECHATPAY2-SHA256-RSA2048" or merchant is None:
            raise SimRefusal("no_merchant")
        lines = [request.method, request.target, fields["timestamp"], fields["nonce_str"], request.body.decode(), ""]
        if (
            fields["serial_no"] != merchant.certificate.number
            or abs(float(fields["timestamp"]) - self.clock()) > CLOCK_S
            or not fits(merchant.certificate.key.public_pem, "\n".join(lines), fields["signature"])
        ):
            raise SimRefusal("no_merchant")
        merchant.asks_for_public_key = request.headers.get("wechatpay-serial", "").startswith("PUB_KEY_ID")
        return merchant

    def _answer(self, merchant: SimMerchant, request: SimRequest) -> tuple[int, Any]:
        values: dict[str, Any] = json.loads(request.body) if request.body else dict(request.query)
        if request.path == "/v3/certificates":
            return 200, {"data": [self._offered(merchant, each) for each in self.offered]}
        if request.path == "/v3/bill/tradebill":
            return 200, self._bill(merchant, values["bill_date"], values.get("sub_mchid", ""))
        owner = self._owner(merchant, values, partner="/partner/" in request.path)
        if request.path.endswith(("/transactions/jsapi", "/transactions/h5")):
            return 200, self._create(merchant, owner, request.path.rpartition("/")[2], values)
        if found := _TRADE_PATH.fullmatch(request.path):
            if found[2]:
                self.table.close(owner, found[1])
                return 204, None
            return 200, self._trade(self.table.find(owner, found[1]))
        if request.path == "/v3/refund/domestic/refunds":
            amount = values["amount"]
            if amount["total"] != self.table.find(owner, values["out_trade_no"]).total:
                raise SimRefusal("other_contents")
            url = values.get("notify_url", "")
            made = self.table.refund(owner, values["out_trade_no"], values["out_refund_no"], amount["refund"], url)
            return 200, self._refund(owner, made)
        if request.path.startswith("/v3/refund/domestic/refunds/"):
            return 200, self._refund(owner, self.table.find_refund(owner, request.path.rpartition("/")[2]))
        return 404, {"code": "RESOURCE_NOT_EXISTS", "message": request.path}

    @staticmethod
    def _owner(merchant: SimMerchant, values: dict[str, Any], *, partner: bool) -> str:
        """Return the owner of the money: the merchant, or one of its sub-merchants."""
        sub = values.get("sub_mchid", "")
        if sub and sub not in merchant.subs:
            raise SimRefusal("no_merchant")
        if bool(merchant.subs) != bool(sub) or (partner and values.get("sp_mchid") != merchant.merchant):
            raise SimRefusal("bad_value")
        if not partner and not sub and values.get("mchid", merchant.merchant) != merchant.merchant:
            raise SimRefusal("bad_value")
        return str(sub or merchant.merchant)

    def _create(self, merchant: SimMerchant, owner: str, kind: str, values: dict[str, Any]) -> dict[str, str]:
        if values.get("sp_appid" if merchant.subs else "appid") != merchant.app:
            raise SimRefusal("bad_value")
        if kind == "jsapi" and not values["payer"].get("sp_openid" if merchant.subs else "openid"):
            raise SimRefusal("bad_value")
        if not values["notify_url"].startswith(("https://", "http://127.0.0.1", "http://fleet.test")):
            raise SimRefusal("bad_value")
        if "?" in values["notify_url"] or values["amount"]["currency"] != "CNY" or not values["description"]:
            raise SimRefusal("bad_value")
        until = datetime.datetime.fromisoformat(values["time_expire"]).timestamp()
        payer = "".join(values.get("payer", {}).values())
        wanted = SimTrade(
            values["out_trade_no"], owner, merchant.app, values["amount"]["total"], values["notify_url"], until,
            kind.upper(), payer=payer,
        )  # fmt: skip
        trade = self.table.open(wanted)
        prepay = f"wx{secrets.token_hex(16)}"
        self.prepared[prepay] = trade
        if kind == "jsapi":
            return {"prepay_id": prepay}
        return {"h5_url": f"{self.address}/sim/h5?{urlencode({'prepay_id': prepay})}"}

    # --- what is reported --------------------------------------------------------------------------------------------

    def _names(self, owner: str) -> dict[str, str]:
        merchant = next(each for each in self.merchants.values() if owner in (each.merchant, *each.subs))
        if merchant.subs:
            return {"sp_mchid": merchant.merchant, "sub_mchid": owner}
        return {"mchid": owner}

    def _trade(self, trade: SimTrade) -> dict[str, Any]:
        names = self._names(trade.merchant)
        partner = "sp_mchid" in names
        found: dict[str, Any] = {
            **names,
            ("sp_appid" if partner else "appid"): trade.app,
            "out_trade_no": trade.number,
            "trade_state": {"open": "NOTPAY", "closed": "CLOSED", "paid": "SUCCESS"}[trade.state],
            "amount": {"total": trade.total, "currency": "CNY"},
        }
        if trade.paid is not None:
            if trade.refunds:
                found["trade_state"] = "REFUND"
            found |= {
                "transaction_id": trade.platform_number, "trade_type": "JSAPI" if trade.kind == "JSAPI" else "MWEB",
                "success_time": self._time(trade.paid), "bank_type": "OTHERS",
                "payer": {"sp_openid" if partner else "openid": trade.payer},
            }  # fmt: skip
            found["amount"] |= {"payer_total": trade.total, "payer_currency": "CNY"}
        return found

    def _refund(self, owner: str, refund: SimRefund) -> dict[str, Any]:
        trade = self.table.trades[owner, refund.trade]
        found: dict[str, Any] = {
            "refund_id": refund.platform_number,
            "out_refund_no": refund.number,
            "transaction_id": trade.platform_number,
            "out_trade_no": trade.number,
            "channel": "ORIGINAL",
            "create_time": self._time(refund.asked),
            "status": {"processing": "PROCESSING", "done": "SUCCESS", "failed": "ABNORMAL"}[refund.state],
            "amount": {"total": trade.total, "refund": refund.amount, "currency": "CNY"},
        }
        if refund.ended is not None:
            found["success_time"] = self._time(refund.ended)
        return found

    @staticmethod
    def _time(at: float) -> str:
        return datetime.datetime.fromtimestamp(int(at), CHINA).isoformat()

    def _offered(self, merchant: SimMerchant, each: SimCertificate) -> dict[str, Any]:
        return {
            "serial_no": each.number,
            "effective_time": each.certificate.not_valid_before_utc.astimezone(CHINA).isoformat(),
            "expire_time": each.certificate.not_valid_after_utc.astimezone(CHINA).isoformat(),
            "encrypt_certificate": seal(merchant.api_key, "certificate", each.pem),
        }

    # --- signatures --------------------------------------------------------------------------------------------------

    def _signer(self, name: str) -> SimKey:
        if name == self.public_name:
            return self.public_key
        return next(each.key for each in self.certificates if each.number == name)

    def _headers(self, name: str, body: bytes, at: float | None = None) -> dict[str, str]:
        timestamp, nonce = str(int(self.clock() if at is None else at)), secrets.token_hex(16)
        text = f"{timestamp}\n{nonce}\n{body.decode()}\n"
        return {
            "wechatpay-timestamp": timestamp,
            "wechatpay-nonce": nonce,
            "wechatpay-signature": self._signer(name).signature(text),
            "wechatpay-serial": name,
            "content-type": "application/json",
        }

    def _signed(self, merchant: SimMerchant, request: SimRequest, status: int, value: Any) -> SimReply:
        body = b"" if value is None else json.dumps(value, ensure_ascii=False).encode()
        name = self.public_name if merchant.asks_for_public_key else self.offered[-1].number
        if request.path == "/v3/certificates":
            name = self.offered[-1].number
        return SimReply(status, body, self._headers(name, body))

    # --- people, payments, notifications -----------------------------------------------------------------------------

    def _person(self, request: SimRequest) -> SimReply:
        query = request.query
        if request.path == "/connect/oauth2/authorize":
            code = secrets.token_hex(16)
            self.codes[code] = query["appid"]
            return redirect_reply(f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}")
        if request.path == "/sns/oauth2/access_token":
            merchant = next((each for each in self.merchants.values() if each.app == query.get("appid")), None)
            if merchant is None or query.get("secret") != merchant.app_secret:
                return json_reply(200, {"errcode": 40125, "errmsg": "invalid appsecret"})
            if self.codes.pop(query.get("code", ""), "") != merchant.app:
                return json_reply(200, {"errcode": 40029, "errmsg": "invalid code"})
            return json_reply(200, {"openid": self.person, "scope": "snsapi_base"})
        trade = self.prepared.get(query.get("prepay_id", ""))
        if trade is None:
            return page_reply("<p>没有这笔支付</p>")
        if request.method == "POST":
            try:
                self.pay(trade.merchant, trade.number)
            except SimRefusal as refusal:
                return page_reply(f"<p>{refusal}</p>")
            back = query.get("redirect_url", "")
            return redirect_reply(back) if back else SimReply(204)
        yuan = f"{trade.total // 100}.{trade.total % 100:02}"
        return page_reply(
            f'<h1>微信支付（模拟）</h1><p>¥{yuan}</p><form method="post"><button>立即支付</button></form>'
        )

    def pay(self, merchant: str, number: str) -> SimTrade:
        """The person pays, and the platform notifies."""
        trade = self.table.pay(merchant, number, self.person)
        self.notify(trade)
        return trade

    def notify(self, trade: SimTrade) -> None:
        self.notices.add(
            trade.notify_url, lambda: self.notification(trade, "TRANSACTION.SUCCESS", "transaction", self._trade(trade))
        )

    def settle_refunds(self) -> None:
        """End the refunds that are due, and notify."""
        for trade, refund in self.table.settle():

            def make(trade: SimTrade = trade, refund: SimRefund = refund) -> Outgoing:
                found = {**self._names(trade.merchant), **self._refund(trade.merchant, refund)}
                found["refund_status"] = found.pop("status")
                event = f"REFUND.{'SUCCESS' if refund.state == 'done' else 'ABNORMAL'}"
                return self.notification(trade, event, "refund", found)

            self.notices.add(refund.notify_url, make)

    def notification(
        self, trade: SimTrade, event: str, associated: str, found: dict[str, Any], at: float | None = None
    ) -> Outgoing:
        """Return a notification as it is sent: sealed for the merchant, signed with the next of `send_with`."""
        merchant = next(each for each in self.merchants.values() if trade.merchant in (each.merchant, *each.subs))
        text = json.dumps(found, ensure_ascii=False)
        value = {
            "id": f"EV-{secrets.token_hex(8)}",
            "create_time": self._time(self.clock()),
            "resource_type": "encrypt-resource",
            "event_type": event,
            "summary": "支付成功",
            "resource": {"original_type": associated, **seal(merchant.api_key, associated, text)},
        }
        body = json.dumps(value, ensure_ascii=False).encode()
        name = self.send_with[self._sent % len(self.send_with)]
        self._sent += 1
        return self._headers(name, body, at), body

    def probe(self, trade: SimTrade) -> Outgoing:
        """Return a notification with a wrong signature, as the platform sends them to test a merchant."""
        headers, body = self.notification(trade, "TRANSACTION.SUCCESS", "transaction", self._trade(trade))
        return {**headers, "wechatpay-signature": f"WECHATPAY/SIGNTEST/{headers['wechatpay-signature']}"}, body

    # --- bills -------------------------------------------------------------------------------------------------------

    def _bill(self, merchant: SimMerchant, day: str, sub: str) -> dict[str, str]:
        content = bill_file(self.table, merchant.merchant, day, sub)
        if content.count(b"\n") <= 3:
            raise SimRefusal("no_bill")
        address = f"{self.address}/v3/billdownload/file?{urlencode({'day': day, 'sub': sub})}"
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        return {"hash_type": "SHA1", "hash_value": digest, "download_url": address}
