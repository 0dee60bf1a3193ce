"""Alipay's gateway in certificate mode: JSAPI inside Alipay, WAP outside; for an own app or by a merchant's consent.

Source: opendocs.alipay.com, the pages of alipay.trade.create, .wap.pay, .query, .close, .refund,
.fastpay.refund.query, alipay.data.dataservice.bill.downloadurl.query and of notifications, as of 2026. Every answer
and notification is signed. With `app_auth_token` (ISV), the money is the merchant's who gave it.
"""

import base64
import binascii
import datetime
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cabinet.errors import CabinetError
from fleet.money.payments import alipay_signing, bills, rsa_signing
from fleet.money.payments.alipay_account import AlipayAddresses, AlipaySecrets, AlipaySettings
from fleet.money.payments.http import PlatformHttp
from fleet.money.payments.port import (
    MAX_NOTIFICATION_AGE_S,
    BillLine,
    Notification,
    NotificationRefused,
    PaidState,
    PaymentOffer,
    PaymentReport,
    PaymentRequest,
    PlatformError,
    PlatformRefused,
    RateLimited,
    RefundReport,
    RefundRequest,
    ResultUnknown,
)

log = logging.getLogger(__name__)

FETCH_GAP_S = 60  # at least between two fetches of a certificate: an invented number must not cause more
MAX_FIELDS = 100

_CHINA = datetime.timezone(datetime.timedelta(hours=8))
_LIMITED = re.compile(r"isv\.app-call-limited|.*(FREQUENCY|LIMIT_EXCEED|REQUEST_LIMIT).*")
_UNKNOWN = frozenset({"ACQ.SYSTEM_ERROR", "SYSTEM_ERROR", "isp.unknow-error", "aop.ACQ.SYSTEM_ERROR"})
_ABSENT = frozenset({"ACQ.TRADE_NOT_EXIST", "TRADE_NOT_EXIST"})
_NO_BILL = frozenset({"isp.bill_not_exist", "isv.bill_not_exist", "BILL_NOT_EXIST"})


class AlipayPay:
    """Implements `port.PaymentPlatform` for one seller."""

    def __init__(
        self,
        settings: AlipaySettings,
        hidden: AlipaySecrets,
        http: PlatformHttp,
        now_s: Callable[[], float],
        addresses: AlipayAddresses | None = None,
    ) -> None:
        """Prepare the account. Raises CabinetError if a key or a certificate cannot be used."""
        self._settings, self._hidden, self._http, self._now_s = settings, hidden, http, now_s
        self._addresses = addresses or AlipayAddresses()
        self._key = _private_key(hidden.private_key)
        try:
            self._roots = x509.load_pem_x509_certificates(settings.roots.encode())
            own = x509.load_pem_x509_certificate(settings.app_certificate.encode())
        except ValueError as error:
            raise CabinetError("Alipay: the app's or the root certificate cannot be read") from error
        self._app_number = alipay_signing.certificate_number(own)
        self._root_number = alipay_signing.root_number(self._roots)
        self._keys = dict(alipay_signing.trusted_key(pem.encode(), self._roots) for pem in settings.certificates)
        self._fetched_s = float("-inf")

    @property
    def merchant(self) -> str:
        return self._settings.merchant

    @property
    def app(self) -> str:
        return self._settings.app

    # --- payments ----------------------------------------------------------------------------------------------------

    async def create(self, request: PaymentRequest) -> PaymentOffer:
        values = {
            "out_trade_no": request.number,
            "total_amount": bills.yuan_of(request.amount_fen),
            "subject": request.description,
            "time_expire": _moment(request.expires),
        }
        if request.way == "browser":
            values |= {"product_code": "QUICK_WAP_WAY", "quit_url": request.return_url}
            signed = self._signed(
                "alipay.trade.wap.pay", values, notify_url=request.notify_url, return_url=request.return_url
            )
            return PaymentOffer(link=f"{self._addresses.gateway}?{urlencode(signed)}")
        values |= {"product_code": "JSAPI_PAY", "op_app_id": self.app, "buyer_open_id": request.payer}
        made = await self._call("alipay.trade.create", values, notify_url=request.notify_url)
        return PaymentOffer(bridge={"tradeNO": _text(made, "trade_no")})

    async def query(self, number: str) -> PaymentReport:
        try:
            found = await self._call("alipay.trade.query", {"out_trade_no": number})
        except PlatformRefused as error:
            if error.code in _ABSENT:
                return PaymentReport(number, "absent")
            raise
        return self._report(found, self.merchant, self.app)

    async def close(self, number: str) -> bool:
        try:
            await self._call("alipay.trade.close", {"out_trade_no": number})
        except PlatformRefused:
            return False
        return True

    # --- refunds -----------------------------------------------------------------------------------------------------

    async def refund(self, request: RefundRequest) -> RefundReport:
        values = {
            "out_trade_no": request.payment_number,
            "refund_amount": bills.yuan_of(request.amount_fen),
            "out_request_no": request.refund_number,
            "refund_reason": request.reason,
        }
        done = await self._call("alipay.trade.refund", values)
        # fund_change N: the same request came before, or the money has not moved yet; a query tells
        moved = done.get("fund_change") == "Y"
        return RefundReport(
            request.payment_number, request.refund_number, "done" if moved else "processing", self.merchant,
            request.amount_fen, str(done.get("trade_no", "")),
        )  # fmt: skip

    async def query_refund(self, payment_number: str, refund_number: str) -> RefundReport:
        values = {"out_trade_no": payment_number, "out_request_no": refund_number}
        absent = RefundReport(payment_number, refund_number, "absent", self.merchant)
        try:
            found = await self._call("alipay.trade.fastpay.refund.query", values)
        except PlatformRefused as error:
            if error.code in _ABSENT:
                return absent
            raise
        if found.get("refund_status") != "REFUND_SUCCESS":
            return absent  # without this status the refund was not done: the same request is sent again
        try:
            amount_fen = bills.fen_of(_text(found, "refund_amount"))
        except ValueError as error:
            raise ResultUnknown("bad_answer", str(error)) from error
        return RefundReport(
            payment_number, refund_number, "done", self.merchant, amount_fen, str(found.get("trade_no", ""))
        )

    # --- notifications -----------------------------------------------------------------------------------------------

    async def parse_notification(self, headers: Mapping[str, str], body: bytes, now_s: float) -> Notification:
        try:
            pairs = parse_qsl(
                body.decode("utf-8"), keep_blank_values=True, strict_parsing=True, errors="strict",
                max_num_fields=MAX_FIELDS,
            )  # fmt: skip
        except ValueError as error:
            raise NotificationRefused("it cannot be read") from error
        fields = dict(pairs)
        if len(fields) != len(pairs) or fields.get("sign_type") != alipay_signing.SIGN_TYPE:
            raise NotificationRefused("a field twice, or another signature than RSA2")
        await self._verify_notification(fields)
        try:
            sent = datetime.datetime.strptime(fields.get("notify_time", ""), _FORMAT).replace(tzinfo=_CHINA)
        except ValueError as error:
            raise NotificationRefused("it has no time") from error
        if abs(sent.timestamp() - now_s) > MAX_NOTIFICATION_AGE_S:
            raise NotificationRefused("its time is more than 5 minutes off")
        try:
            return self._report(fields, fields.get("seller_id", ""), fields.get("app_id", ""))
        except ResultUnknown as error:
            raise NotificationRefused(str(error)) from error

    async def _verify_notification(self, fields: dict[str, str]) -> None:
        """Verify with the certificate that the notification names, or with each that is known if it names none."""
        text = alipay_signing.signed_text(fields, notification=True)
        named = fields.get("alipay_cert_sn", "")
        if named and named not in self._keys:
            try:
                await self._fetch_key(named)
            except PlatformError as error:
                raise NotificationRefused(f"signed with an unknown certificate: {error}") from error
        for key in [self._keys[named]] if named else self._keys.values():
            try:
                rsa_signing.verify(key, text, fields.get("sign", ""))
            except rsa_signing.BadSignature:
                continue
            return
        raise NotificationRefused("the signature does not fit")

    # --- bills and people --------------------------------------------------------------------------------------------

    async def bill(self, day: datetime.date) -> list[BillLine]:
        values = {"bill_type": "trade", "bill_date": day.isoformat()}
        try:
            found = await self._call("alipay.data.dataservice.bill.downloadurl.query", values)
        except PlatformRefused as error:
            if error.code in _NO_BILL:
                return []
            raise
        answer = await self._http.call("GET", _text(found, "bill_download_url"))
        if answer.status != 200:
            raise ResultUnknown("no_bill", f"status {answer.status}")
        return bills.read_alipay(answer.body)

    def login_url(self, back: str, state: str) -> str:
        query = {"app_id": self.app, "scope": "auth_base", "redirect_uri": back, "state": state}
        return f"{self._addresses.login}?{urlencode(query)}"

    async def payer_of(self, code: str) -> str:
        plain = {"grant_type": "authorization_code", "code": code}
        return _text(await self._call("alipay.system.oauth.token", {}, **plain), "open_id")

    # --- calls -------------------------------------------------------------------------------------------------------

    def _signed(self, method: str, values: Mapping[str, str], **plain: str) -> dict[str, str]:
        """Return the parameters of a call: `values` as its contents, `plain` beside them, and the signature."""
        parameters = {
            "app_id": self.app,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": alipay_signing.SIGN_TYPE,
            "timestamp": datetime.datetime.fromtimestamp(self._now_s(), _CHINA).strftime(_FORMAT),
            "version": "1.0",
            "app_cert_sn": self._app_number,
            "alipay_root_cert_sn": self._root_number,
            "app_auth_token": self._hidden.app_auth_token,
            "biz_content": msgspec.json.encode(values).decode() if values else "",
            **plain,
        }
        given = {name: value for name, value in parameters.items() if value}
        return {**given, "sign": rsa_signing.sign(self._key, alipay_signing.signed_text(given))}

    async def _call(self, method: str, values: Mapping[str, str], **plain: str) -> dict[str, Any]:
        """Return the verified inner object of the answer to a call that succeeded."""
        text = await self._answer(method, self._signed(method, values, **plain))
        whole, name = _object(text), method.replace(".", "_") + "_response"
        name = "error_response" if name not in whole else name
        try:
            inner = alipay_signing.inner_object(text, name)
        except rsa_signing.BadSignature as error:
            raise ResultUnknown("bad_answer", str(error)) from error
        found = _object(inner)
        code, detail = str(found.get("sub_code") or found.get("code", "")), str(found.get("sub_msg", ""))[:200]
        if "sign" in whole or _succeeded(found):  # a request that the gateway cannot place is answered unsigned
            await self._verify(inner, found, whole, method)
        if _succeeded(found):
            return found
        if code in _UNKNOWN or found.get("code") == "20000":
            raise ResultUnknown(code, detail)
        raise (RateLimited if _LIMITED.fullmatch(code) else PlatformRefused)(code, detail)

    async def _answer(self, method: str, parameters: dict[str, str]) -> str:
        headers = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"}
        # The common parameters stand in the address, as with the official libraries; the rest is the form.
        rest = {name: parameters.pop(name) for name in ("biz_content",) if name in parameters}
        address = f"{self._addresses.gateway}?{urlencode(parameters)}"
        answer = await self._http.call("POST", address, headers, urlencode(rest).encode())
        if answer.status != 200:
            raise ResultUnknown(f"HTTP {answer.status}", method)
        try:
            return answer.body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ResultUnknown("bad_answer", "no text") from error

    async def _verify(self, inner: str, found: dict[str, Any], whole: dict[str, Any], method: str) -> None:
        number, signature = str(whole.get("alipay_cert_sn", "")), str(whole.get("sign", ""))
        if number not in self._keys and method != _DOWNLOAD:
            await self._fetch_key(number)
        key = self._keys.get(number) or (_key_of(found, self._roots, number) if method == _DOWNLOAD else None)
        if key is None:
            raise ResultUnknown("bad_answer", "signed with an unknown certificate")
        try:
            rsa_signing.verify(key, inner.encode(), signature)
        except rsa_signing.BadSignature as error:
            raise ResultUnknown("bad_answer", str(error)) from error

    async def _fetch_key(self, number: str) -> None:
        """Fetch Alipay's certificate with this number; it must lead to the root. Raises PlatformError."""
        now_s = self._now_s()
        if now_s - self._fetched_s < FETCH_GAP_S:
            raise ResultUnknown("bad_answer", "an unknown certificate, and one was fetched just now")
        self._fetched_s = now_s
        found = await self._call(_DOWNLOAD, {"alipay_cert_sn": number})
        key = _key_of(found, self._roots, number)
        if key is None:
            raise ResultUnknown("bad_answer", "the certificate is another one, or does not lead to the root")
        self._keys[number] = key
        log.info("Alipay: its certificate %s is used from now on", number)

    def _report(self, found: Mapping[str, Any], merchant: str, app: str) -> PaymentReport:
        try:
            amount_fen = bills.fen_of(_text(found, "total_amount"))
        except ValueError as error:
            raise ResultUnknown("bad_answer", str(error)) from error
        paid = found.get("gmt_payment") or found.get("send_pay_date")
        return PaymentReport(
            number=_text(found, "out_trade_no"),
            state=_state(_text(found, "trade_status"), bool(paid)),
            merchant=merchant,
            app=app,
            amount_fen=amount_fen,
            currency=str(found.get("trans_currency") or "CNY"),
            platform_number=str(found.get("trade_no", "")),
            payer=str(found.get("buyer_open_id", "")),
            paid=_time_of(paid),
        )


_FORMAT = "%Y-%m-%d %H:%M:%S"
_DOWNLOAD = "alipay.open.app.alipaycert.download"


def _state(status: str, was_paid: bool) -> PaidState:
    """Return the state; a trade that was paid and went back whole is closed at Alipay, and was paid here."""
    if status in ("TRADE_SUCCESS", "TRADE_FINISHED") or was_paid:
        return "paid"
    return "closed" if status == "TRADE_CLOSED" else "unpaid"


def _succeeded(found: Mapping[str, Any]) -> bool:
    return found.get("code") == "10000" or ("code" not in found and "open_id" in found)


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ResultUnknown("bad_answer", "no object") from error


def _text(found: Mapping[str, Any], name: str) -> str:
    """Return a text of an answer. Raises ResultUnknown if there is none."""
    value = found.get(name)
    if not isinstance(value, str) or not value:
        raise ResultUnknown("bad_answer", f"no {name}")
    return value


def _moment(at: datetime.datetime) -> str:
    return at.astimezone(_CHINA).strftime(_FORMAT)


def _time_of(value: object) -> datetime.datetime | None:
    try:
        return datetime.datetime.strptime(str(value), _FORMAT).replace(tzinfo=_CHINA)
    except ValueError:
        return None


def _key_of(found: Mapping[str, Any], roots: list[x509.Certificate], number: str) -> RSAPublicKey | None:
    """Return the key in the answer of a download, if its certificate has this number and leads to a root."""
    try:
        pem = base64.b64decode(_text(found, "alipay_cert_content"), validate=True)
        named, key = alipay_signing.trusted_key(pem, roots)
    except (binascii.Error, rsa_signing.BadSignature, ResultUnknown):
        return None
    return key if named == number else None


def _private_key(pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError) as error:
        raise CabinetError("Alipay: the app's private key cannot be read") from error
    if not isinstance(key, RSAPrivateKey):
        raise CabinetError("Alipay: the app's private key is no RSA key")
    return key
