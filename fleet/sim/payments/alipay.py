"""Alipay's gateway, simulated: JSAPI and WAP, own app and ISV, in certificate mode, with a change of certificate.

Written from the documented behaviour (opendocs.alipay.com, as of 2026), not from our adapter.
"""

import base64
import csv
import datetime
import io
import json
import re
import secrets
import zipfile
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from fleet.sim.payments.keys import SimCertificate, fits, make_certificate
from fleet.sim.payments.notices import Notices, Outgoing
from fleet.sim.payments.trades import SimRefund, SimRefusal, SimTrade, TradeTable, fee
from fleet.sim.payments.web import SimReply, SimRequest, page_reply, redirect_reply

LADDER_S = (240, 600, 600, 3600, 7200, 21600, 54000)
CHINA = datetime.timezone(datetime.timedelta(hours=8))
FORMAT = "%Y-%m-%d %H:%M:%S"

REFUSALS = {
    "other_contents": "ACQ.CONTEXT_INCONSISTENT", "is_paid": "ACQ.TRADE_HAS_SUCCESS",
    "is_closed": "ACQ.TRADE_HAS_CLOSE",
    "too_late": "ACQ.INVALID_PARAMETER", "bad_value": "ACQ.INVALID_PARAMETER", "no_trade": "ACQ.TRADE_NOT_EXIST",
    "not_paid": "ACQ.TRADE_STATUS_ERROR", "too_much": "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
    "too_many_refunds": "ACQ.REASON_TRADE_REFUND_FEE_ERR", "too_often": "ACQ.REFUND_FREQUENCY_LIMIT",
    "no_balance": "ACQ.SELLER_BALANCE_NOT_ENOUGH", "no_bill": "isp.bill_not_exist", "bad_code": "isv.code-invalid",
}  # fmt: skip
_AMOUNT = re.compile(r"\d+\.\d\d")


class SimApp:
    """An app: of a seller itself, or of a service provider with the sellers' consents (token → seller)."""

    def __init__(self, app: str, seller: str, issuer: SimCertificate, now: datetime.datetime) -> None:
        self.app, self.seller = app, seller
        self.certificate = make_certificate(app, issuer, now)
        self.consents: dict[str, str] = {}


class SimAlipay:
    """The platform. `signer` signs answers and notifications; `rotate` changes it."""

    def __init__(
        self, clock: Callable[[], float], address: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.clock, self.address = clock, address
        self.table = TradeTable(clock, 1)
        self.notices = Notices(clock, LADDER_S, lambda answer: answer.content == b"success", transport)
        now = datetime.datetime.fromtimestamp(clock(), datetime.UTC)
        self.root = make_certificate("Ant Root", None, now)
        self.authority = make_certificate("Ant Class 1", self.root, now)
        self.signers = [make_certificate("Alipay", self.authority, now)]
        self.apps: dict[str, SimApp] = {}
        self.codes: dict[str, str] = {}
        self.person = "074a1CcTG1LelxKe4xQC0zgNdId0nxi95b5lsNpazWYoCo5"

    @property
    def signer(self) -> SimCertificate:
        return self.signers[-1]

    @property
    def root_pem(self) -> str:
        return self.root.pem

    def chain_pem(self, certificate: SimCertificate) -> str:
        return certificate.pem + self.authority.pem

    def add_app(self, app: str, seller: str, consents: tuple[str, ...] = ()) -> SimApp:
        """Add an app; `consents` are the sellers who gave theirs: `SimApp.consents` has their tokens."""
        now = datetime.datetime.fromtimestamp(self.clock(), datetime.UTC)
        made = self.apps[app] = SimApp(app, seller, self.authority, now)
        made.consents = {f"2026BB{secrets.token_hex(16)}": consent for consent in consents}
        return made

    def rotate(self) -> SimCertificate:
        now = datetime.datetime.fromtimestamp(self.clock(), datetime.UTC)
        self.signers.append(make_certificate("Alipay", self.authority, now))
        return self.signer

    # --- requests ----------------------------------------------------------------------------------------------------

    async def handle(self, request: SimRequest) -> SimReply:
        if request.path == "/oauth2/publicAppAuthorize.htm":
            code, query = secrets.token_hex(16), request.query
            self.codes[code] = query["app_id"]
            back = {"app_id": query["app_id"], "scope": "auth_base", "auth_code": code, "state": query["state"]}
            return redirect_reply(f"{query['redirect_uri']}?{urlencode(back)}")
        if request.path == "/sim/alipay/bill":
            return SimReply(200, self._bill_file(request.query["seller"], request.query["day"]))
        if request.path.startswith("/sim/alipay/pay/"):
            return self._pay_page(request)
        parameters = {**request.query, **request.form}
        method = parameters.get("method", "")
        name = method.replace(".", "_") + "_response"
        app = self.apps.get(parameters.get("app_id", ""))
        text = "&".join(f"{key}={value}" for key, value in sorted(parameters.items()) if value and key != "sign")
        if (
            app is None
            or parameters.get("sign_type") != "RSA2"
            or parameters.get("app_cert_sn") != app.certificate.md5_number
            or parameters.get("alipay_root_cert_sn") != self.root.md5_number
            or not fits(app.certificate.key.public_pem, text, parameters.get("sign", ""))
        ):
            return self._reply("error_response", {"code": "40002", "sub_code": "isv.invalid-signature"}, unsigned=True)
        fault = self.table.next_fault()
        if fault == "limit":
            return self._reply(name, {"code": "40004", "sub_code": "isv.app-call-limited", "sub_msg": "限流"})
        if fault == "error_before":
            return self._reply(name, {"code": "40004", "sub_code": "ACQ.SYSTEM_ERROR", "sub_msg": "系统错误"})
        try:
            if method == "alipay.trade.wap.pay":
                return self._cashier(app, parameters)
            found = {"code": "10000", "msg": "Success", **self._answer(app, method, parameters)}
        except SimRefusal as refusal:
            found = {"code": "40004", "msg": "Business Failed", "sub_code": REFUSALS[str(refusal)]}
        if fault == "error_after":
            return self._reply(name, {"code": "20000", "sub_code": "isp.unknow-error", "sub_msg": "系统繁忙"})
        if method == "alipay.system.oauth.token" and found["code"] == "10000":
            del found["code"], found["msg"]
        return self._reply(name, found, forged=fault == "forged")

    def _answer(self, app: SimApp, method: str, parameters: dict[str, str]) -> dict[str, Any]:
        values = json.loads(parameters.get("biz_content") or "{}")
        seller = self._seller(app, parameters)
        number = values.get("out_trade_no", "")
        match method:
            case "alipay.trade.create":
                if values.get("product_code") != "JSAPI_PAY" or not values.get("buyer_open_id"):
                    raise SimRefusal("bad_value")
                trade = self._open(app, seller, parameters, values, "JSAPI")
                trade.payer = values["buyer_open_id"]
                return {"out_trade_no": number, "trade_no": trade.platform_number}
            case "alipay.trade.query":
                return self._trade(self.table.find(seller, number), "send_pay_date")
            case "alipay.trade.close":
                self.table.close(seller, number)
                return {"out_trade_no": number}
            case "alipay.trade.refund":
                known = (seller, values["out_request_no"]) in self.table.refunds
                made = self.table.refund(seller, number, values["out_request_no"], _fen(values["refund_amount"]))
                self.settle_refunds()
                moved = made.state == "done" and not known
                trade = self.table.find(seller, number)
                total = _yuan(trade.refunded)
                return {"out_trade_no": number, "trade_no": trade.platform_number, "refund_fee": total,
                        "fund_change": "Y" if moved else "N"}  # fmt: skip
            case "alipay.trade.fastpay.refund.query":
                return self._refund(seller, number, values["out_request_no"])
            case "alipay.data.dataservice.bill.downloadurl.query":
                day = values["bill_date"]
                if not self._bill_lines(seller, day):
                    raise SimRefusal("no_bill")
                query = urlencode({"seller": seller, "day": day})
                return {"bill_download_url": f"{self.address}/sim/alipay/bill?{query}"}
            case "alipay.system.oauth.token":
                if self.codes.pop(parameters.get("code", ""), "") != app.app:
                    raise SimRefusal("bad_code")
                return {"access_token": secrets.token_hex(16), "open_id": self.person, "expires_in": 1296000}
            case "alipay.open.app.alipaycert.download":
                wanted = [each for each in self.signers if each.md5_number == values["alipay_cert_sn"]]
                if not wanted:
                    raise SimRefusal("bad_value")
                return {"alipay_cert_content": base64.b64encode(self.chain_pem(wanted[0]).encode()).decode()}
        raise SimRefusal("bad_value")

    @staticmethod
    def _seller(app: SimApp, parameters: dict[str, str]) -> str:
        token = parameters.get("app_auth_token", "")
        if token and token not in app.consents:
            raise SimRefusal("bad_value")
        return app.consents[token] if token else app.seller

    def _open(
        self, app: SimApp, seller: str, parameters: dict[str, str], values: dict[str, str], kind: str
    ) -> SimTrade:
        until = datetime.datetime.strptime(values["time_expire"], FORMAT).replace(tzinfo=CHINA).timestamp()
        if not values.get("subject") or any(character in values["subject"] for character in "/=&"):
            raise SimRefusal("bad_value")
        notify, back = parameters.get("notify_url", ""), parameters.get("return_url", "")
        total = _fen(values["total_amount"])
        return self.table.open(SimTrade(values["out_trade_no"], seller, app.app, total, notify, until, kind, back))

    def _refund(self, seller: str, number: str, refund_number: str) -> dict[str, Any]:
        self.settle_refunds()
        trade = self.table.find(seller, number)
        refund = self.table.refunds.get((seller, refund_number))
        if refund is None or refund.state != "done":
            return {}  # not there, or not done: both look the same
        return {"out_trade_no": number, "trade_no": trade.platform_number, "out_request_no": refund.number,
                "refund_status": "REFUND_SUCCESS", "refund_amount": _yuan(refund.amount),
                "total_amount": _yuan(trade.total)}  # fmt: skip

    def _trade(self, trade: SimTrade, paid_name: str) -> dict[str, Any]:
        status = {"open": "WAIT_BUYER_PAY", "closed": "TRADE_CLOSED", "paid": "TRADE_SUCCESS"}[trade.state]
        if trade.state == "paid" and trade.refunded == trade.total:
            status = "TRADE_CLOSED"  # went back whole
        found = {"out_trade_no": trade.number, "trade_no": trade.platform_number, "trade_status": status,
                 "total_amount": _yuan(trade.total)}  # fmt: skip
        if trade.paid is not None:
            found |= {"buyer_open_id": trade.payer, paid_name: self._time(trade.paid)}
        return found

    def _reply(self, name: str, found: dict[str, Any], *, unsigned: bool = False, forged: bool = False) -> SimReply:
        inner = json.dumps(found, ensure_ascii=False)
        rest = ""
        if not unsigned:
            signature = self.signer.key.signature(inner + " " if forged else inner)
            rest = f',"alipay_cert_sn":"{self.signer.md5_number}","sign":"{signature}"'
        return SimReply(200, f'{{"{name}":{inner}{rest}}}'.encode(), {"content-type": "application/json"})

    @staticmethod
    def _time(at: float) -> str:
        return datetime.datetime.fromtimestamp(at, CHINA).strftime(FORMAT)

    # --- people, payments, notifications -----------------------------------------------------------------------------

    def _cashier(self, app: SimApp, parameters: dict[str, str]) -> SimReply:
        """The person opened the link of a WAP payment: only now is there a trade."""
        values = json.loads(parameters["biz_content"])
        seller = self._seller(app, parameters)
        trade = self._open(app, seller, parameters, values, "WAP")
        action = f"{self.address}/sim/alipay/pay/{quote(seller)}/{quote(trade.number)}"
        return page_reply(
            f"<h1>支付宝（模拟）</h1><p>¥{_yuan(trade.total)}</p>"
            f'<form method="post" action="{action}"><button>立即支付</button></form>'
        )

    def _pay_page(self, request: SimRequest) -> SimReply:
        seller, number = request.path.split("/")[-2:]
        if request.method != "POST":
            return SimReply(405)
        try:
            trade = self.pay(seller, number)
        except SimRefusal as refusal:
            return page_reply(f"<p>{refusal}</p>")
        return redirect_reply(trade.back) if trade.back else SimReply(204)

    def number_of(self, trade_no: str) -> tuple[str, str]:
        """Return seller and number of the trade with Alipay's own number."""
        return next(key for key, trade in self.table.trades.items() if trade.platform_number == trade_no)

    def pay(self, seller: str, number: str) -> SimTrade:
        """The person pays, and the platform notifies."""
        trade = self.table.pay(seller, number, self.person)
        self.notify(trade)
        return trade

    def notify(self, trade: SimTrade) -> None:
        identity = secrets.token_hex(16)  # the same for each attempt
        self.notices.add(trade.notify_url, lambda: self.notification(trade, identity))

    def settle_refunds(self) -> None:
        """End the refunds that are due; each is notified as a change of its trade."""
        for trade, refund in self.table.settle():
            if refund.state == "done":
                identity = secrets.token_hex(16)

                def make(trade: SimTrade = trade, refund: SimRefund = refund, identity: str = identity) -> Outgoing:
                    extra = {"out_biz_no": refund.number, "refund_fee": _yuan(trade.refunded),
                             "gmt_refund": self._time(refund.ended or 0) + ".000"}  # fmt: skip
                    return self.notification(trade, identity, None, **extra)

                self.notices.add(trade.notify_url, make)

    def notification(self, trade: SimTrade, identity: str, at: float | None = None, **extra: str) -> Outgoing:
        fields = {
            "notify_time": self._time(self.clock() if at is None else at), "notify_type": "trade_status_sync",
            "notify_id": identity, "app_id": trade.app, "charset": "utf-8", "version": "1.0", "sign_type": "RSA2",
            "seller_id": trade.merchant, "subject": "充电", "body": "", "gmt_create": self._time(trade.made),
            **self._trade(trade, "gmt_payment"), **extra,
        }  # fmt: skip
        text = "&".join(f"{name}={value}" for name, value in sorted(fields.items()) if name != "sign_type")
        body = urlencode({**fields, "sign": self.signer.key.signature(text)}).encode()
        return {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}, body

    # --- bills -------------------------------------------------------------------------------------------------------

    def _bill_lines(self, seller: str, day: str) -> list[list[str]]:
        lines = []
        for trade in self.table.trades.values():
            if trade.merchant != seller or trade.paid is None:
                continue
            if self._time(trade.paid).startswith(day):
                total, charged = _yuan(trade.total), _yuan(fee(trade.total))
                lines.append([trade.platform_number, trade.number, "交易", total, f"-{charged}", ""])
            for refund in trade.refunds:
                if refund.state == "done" and self._time(refund.ended or 0).startswith(day):
                    back, charged = _yuan(refund.amount), _yuan(fee(refund.amount))
                    lines.append([trade.platform_number, trade.number, "退款", f"-{back}", charged, refund.number])
        return lines

    def _bill_file(self, seller: str, day: str) -> bytes:
        names = ["支付宝交易号", "商户订单号", "业务类型", "订单金额（元）", "服务费（元）", "退款批次号/请求号"]
        out = io.StringIO()
        out.write("#支付宝业务明细查询\n#-----业务明细列表-----\n")
        writer = csv.writer(out)
        writer.writerow(names)
        writer.writerows([[f"{value}\t" for value in line] for line in self._bill_lines(seller, day)])
        out.write("#-----业务明细列表结束-----\n")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(_GbkInfo(f"{seller}_业务明细.csv"), out.getvalue().encode("gb18030"))
            archive.writestr(_GbkInfo(f"{seller}_业务明细(汇总).csv"), "#汇总\n".encode("gb18030"))
        return packed.getvalue()


class _GbkInfo(zipfile.ZipInfo):
    """An entry with a name in GBK that does not say so, as the platform writes it."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802  # the name in zipfile
        return self.filename.encode("gb18030"), self.flag_bits


def _fen(yuan: str) -> int:
    if not _AMOUNT.fullmatch(yuan):
        raise SimRefusal("bad_value")
    return int(yuan.replace(".", ""))


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02}"
