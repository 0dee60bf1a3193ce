"""WeChat Pay API v3: JSAPI inside WeChat and H5 outside, for a merchant of its own or of a service provider.

Source: pay.weixin.qq.com, the pages of JSAPI and H5 payment, refunds and bills, direct and partner mode, as of 2026.
Answers with a status of 2xx and notifications are signed; an error answer is trusted as far as TLS goes.
"""

import datetime
import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cabinet.errors import CabinetError
from fleet.money.payments import bills, rsa_signing, wechat_signing
from fleet.money.payments.http import PlatformAnswer, PlatformHttp
from fleet.money.payments.port import (
    BillLine,
    Notification,
    NotificationRefused,
    PaidState,
    PaymentOffer,
    PaymentReport,
    PaymentRequest,
    PlatformRefused,
    RefundReport,
    RefundRequest,
    RefundState,
    ResultUnknown,
)
from fleet.money.payments.wechat_keys import (
    SignedHeaders,
    WechatAddresses,
    WechatKeys,
    WechatSecrets,
    WechatSettings,
)
from fleet.money.payments.wechat_messages import (
    ABSENT,
    WechatNotification,
    WechatRefund,
    WechatTransaction,
    check_status,
    decoded,
    text_of,
)

_CHINA = datetime.timezone(datetime.timedelta(hours=8))
_STATES: dict[str, PaidState] = {
    "SUCCESS": "paid", "REFUND": "paid", "NOTPAY": "unpaid", "USERPAYING": "unpaid", "ACCEPT": "unpaid",
    "CLOSED": "closed", "REVOKED": "closed", "PAYERROR": "closed",
}  # fmt: skip
_REFUND_STATES: dict[str, RefundState] = {
    "SUCCESS": "done", "PROCESSING": "processing", "CLOSED": "failed", "ABNORMAL": "failed",
}  # fmt: skip


class WechatPay:
    """Implements `port.PaymentPlatform` for one merchant."""

    def __init__(
        self,
        settings: WechatSettings,
        hidden: WechatSecrets,
        http: PlatformHttp,
        now_s: Callable[[], float],
        addresses: WechatAddresses | None = None,
    ) -> None:
        """Prepare the account. Raises CabinetError if its key cannot be used."""
        self._settings, self._hidden, self._http, self._now_s = settings, hidden, http, now_s
        self._addresses = addresses or WechatAddresses()
        self._key = _private_key(hidden.private_key)
        self._keys = WechatKeys(settings, hidden, now_s)

    @property
    def merchant(self) -> str:
        return self._settings.sub_merchant or self._settings.merchant

    @property
    def app(self) -> str:
        return self._settings.app

    @property
    def _partner(self) -> bool:
        return bool(self._settings.sub_merchant)

    # --- payments ----------------------------------------------------------------------------------------------------

    async def create(self, request: PaymentRequest) -> PaymentOffer:
        kind = "jsapi" if request.way == "in_app" else "h5"
        body: dict[str, Any] = {
            **self._names(app=True),
            "description": request.description,
            "out_trade_no": request.number,
            "time_expire": request.expires.astimezone(_CHINA).isoformat(timespec="seconds"),
            "notify_url": request.notify_url,
            "amount": {"total": request.amount_fen, "currency": "CNY"},
        }
        if kind == "jsapi":
            body["payer"] = {"sp_openid" if self._partner else "openid": request.payer}
        else:
            body["scene_info"] = {"payer_client_ip": request.address, "h5_info": {"type": "Wap"}}
        made = await self._call("POST", f"{self._base}/transactions/{kind}", body)
        if kind == "h5":
            return PaymentOffer(link=f"{text_of(made, 'h5_url')}&{urlencode({'redirect_url': request.return_url})}")
        return PaymentOffer(bridge=self._bridge(text_of(made, "prepay_id")))

    def _bridge(self, prepay_id: str) -> dict[str, str]:
        """Return the arguments of the pay sheet, `getBrandWCPayRequest`."""
        timestamp, nonce, package = str(int(self._now_s())), _nonce(), f"prepay_id={prepay_id}"
        text = wechat_signing.bridge_text(self._settings.app, timestamp, nonce, package)
        return {
            "appId": self._settings.app,
            "timeStamp": timestamp,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": rsa_signing.sign(self._key, text),
        }

    async def query(self, number: str) -> PaymentReport:
        path = f"{self._base}/transactions/out-trade-no/{number}?{urlencode(self._names())}"
        try:
            return self._payment_report(decoded(await self._call("GET", path), WechatTransaction))
        except PlatformRefused as error:
            if error.code in ABSENT:
                return PaymentReport(number, "absent")
            raise

    async def close(self, number: str) -> bool:
        try:
            await self._call("POST", f"{self._base}/transactions/out-trade-no/{number}/close", self._names())
        except PlatformRefused:
            return False
        return True

    # --- refunds -----------------------------------------------------------------------------------------------------

    async def refund(self, request: RefundRequest) -> RefundReport:
        body: dict[str, Any] = {
            "out_trade_no": request.payment_number,
            "out_refund_no": request.refund_number,
            "reason": request.reason,
            "notify_url": request.notify_url,
            "amount": {"refund": request.amount_fen, "total": request.payment_fen, "currency": "CNY"},
            **self._sub_merchant(),
        }
        return self._refund_report(decoded(await self._call("POST", "/v3/refund/domestic/refunds", body), WechatRefund))

    async def query_refund(self, payment_number: str, refund_number: str) -> RefundReport:
        query = f"?{urlencode(self._sub_merchant())}" if self._partner else ""
        try:
            found = await self._call("GET", f"/v3/refund/domestic/refunds/{refund_number}{query}")
        except PlatformRefused as error:
            if error.code in ABSENT:
                return RefundReport(payment_number, refund_number, "absent", self.merchant)
            raise
        return self._refund_report(decoded(found, WechatRefund))

    # --- notifications -----------------------------------------------------------------------------------------------

    async def parse_notification(self, headers: Mapping[str, str], body: bytes, now_s: float) -> Notification:
        signed = SignedHeaders.of(headers)
        if signed.signature.startswith(wechat_signing.PROBE):
            raise NotificationRefused("a probe of the platform", probe=True)
        if not signed.is_fresh(now_s):
            raise NotificationRefused("its time is more than 5 minutes off")
        if self._keys.find(signed.serial) is None and self._keys.may_fetch():
            await self._fetch_keys()
        try:
            self._keys.verify(signed, body)
            sent = msgspec.json.decode(body, type=WechatNotification)
            if sent.resource.algorithm != "AEAD_AES_256_GCM":
                raise NotificationRefused(f"algorithm {sent.resource.algorithm!r}")
            api_key, sealed = self._hidden.api_key.encode(), sent.resource
            inner = wechat_signing.unseal(api_key, sealed.nonce, sealed.associated_data, sealed.ciphertext)
            if sent.event_type.startswith("REFUND."):
                return self._refund_report(msgspec.json.decode(inner, type=WechatRefund), notified=True)
            return self._payment_report(msgspec.json.decode(inner, type=WechatTransaction))
        except (rsa_signing.BadSignature, ResultUnknown) as error:
            raise NotificationRefused(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NotificationRefused("it cannot be read") from error

    # --- bills -------------------------------------------------------------------------------------------------------

    async def bill(self, day: datetime.date) -> list[BillLine]:
        query = {"bill_date": day.isoformat(), "bill_type": "ALL", **self._sub_merchant()}
        try:
            found = await self._call("GET", f"/v3/bill/tradebill?{urlencode(query)}")
        except PlatformRefused as error:
            if error.code in ABSENT:
                return []
            raise
        address = urlsplit(text_of(found, "download_url"))  # a file: it is not signed, but its hash is
        answer = await self._send("GET", f"{address.path}?{address.query}", b"")
        if answer.status != 200:
            raise ResultUnknown("no_bill", f"status {answer.status}")
        if hashlib.sha1(answer.body, usedforsecurity=False).hexdigest() != text_of(found, "hash_value").lower():
            raise ResultUnknown("bad_bill", "the file has another hash")
        return bills.read_wechat(answer.body)

    # --- people ------------------------------------------------------------------------------------------------------

    def login_url(self, back: str, state: str) -> str:
        query = {"appid": self.app, "redirect_uri": back, "response_type": "code", "scope": "snsapi_base"}
        return f"{self._addresses.login}?{urlencode({**query, 'state': state})}#wechat_redirect"

    async def payer_of(self, code: str) -> str:
        query = {"appid": self.app, "secret": self._hidden.app_secret, "code": code}
        address = f"{self._addresses.identity}?{urlencode({**query, 'grant_type': 'authorization_code'})}"
        answer = await self._http.call("GET", address)
        try:
            found = msgspec.json.decode(answer.body, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise ResultUnknown("bad_answer", f"status {answer.status}") from error
        if not isinstance(found.get("openid"), str) or not found["openid"]:
            raise PlatformRefused(str(found.get("errcode", answer.status)), "no openid")
        return str(found["openid"])

    # --- calls -------------------------------------------------------------------------------------------------------

    @property
    def _base(self) -> str:
        return "/v3/pay/partner" if self._partner else "/v3/pay"

    def _names(self, *, app: bool = False) -> dict[str, str]:
        own = self._settings
        if self._partner:
            names = {"sp_mchid": own.merchant, "sub_mchid": own.sub_merchant}
            return {"sp_appid": own.app, **names} if app else names
        return {"appid": own.app, "mchid": own.merchant} if app else {"mchid": own.merchant}

    def _sub_merchant(self) -> dict[str, str]:
        return {"sub_mchid": self._settings.sub_merchant} if self._partner else {}

    async def _call(self, method: str, target: str, body: dict[str, Any] | None = None) -> bytes:
        """Send a signed request; return the verified body of the answer."""
        if self._keys.due() and self._keys.may_fetch():
            await self._fetch_keys()
        answer = await self._send(method, target, b"" if body is None else msgspec.json.encode(body))
        check_status(answer)
        await self._verify(answer)
        return answer.body

    async def _send(self, method: str, target: str, content: bytes) -> PlatformAnswer:
        own = self._settings
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "Authorization": wechat_signing.authorization(
                self._key, own.merchant, own.serial, method, target, int(self._now_s()), _nonce(), content
            ),
        }
        if own.public_keys:
            headers["Wechatpay-Serial"] = next(iter(own.public_keys))
        return await self._http.call(method, self._addresses.api + target, headers, content)

    async def _verify(self, answer: PlatformAnswer) -> None:
        signed = SignedHeaders.of(answer.headers)
        if self._keys.find(signed.serial) is None and self._keys.may_fetch():
            await self._fetch_keys()
        try:
            if not signed.is_fresh(self._now_s()):
                raise ResultUnknown("bad_answer", "its time is more than 5 minutes off")
            self._keys.verify(signed, answer.body)
        except rsa_signing.BadSignature as error:
            raise ResultUnknown("bad_answer", str(error)) from error

    async def _fetch_keys(self) -> None:
        """Fetch the platform's certificates; without success those that are known stay in use."""
        self._keys.fetching()
        try:
            answer = await self._send("GET", "/v3/certificates", b"")
            check_status(answer)
            self._keys.take(answer)
        except CabinetError as error:
            self._keys.failed(str(error))

    # --- reports -----------------------------------------------------------------------------------------------------

    def _payment_report(self, found: WechatTransaction) -> PaymentReport:
        if self._partner and found.sp_mchid != self._settings.merchant:
            raise ResultUnknown("bad_answer", "of another service provider")
        return PaymentReport(
            number=found.out_trade_no,
            state=_STATES.get(found.trade_state, "unpaid"),
            merchant=found.sub_mchid if self._partner else found.mchid,
            app=found.sp_appid if self._partner else found.appid,
            amount_fen=found.amount.total,
            currency=found.amount.currency,
            platform_number=found.transaction_id,
            payer=found.payer.sp_openid if self._partner else found.payer.openid,
            paid=found.success_time,
        )

    def _refund_report(self, found: WechatRefund, *, notified: bool = False) -> RefundReport:
        status = found.refund_status or found.status
        merchant = (found.sub_mchid if self._partner else found.mchid) if notified else self.merchant
        state = _REFUND_STATES.get(status, "processing")
        return RefundReport(
            found.out_trade_no, found.out_refund_no, state, merchant, found.amount.refund, found.refund_id,
            status if state == "failed" else "",
        )  # fmt: skip


def _nonce() -> str:
    return secrets.token_hex(16)


def _private_key(pem: str) -> RSAPrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError) as error:
        raise CabinetError("WeChat Pay: the merchant's private key cannot be read") from error
    if not isinstance(key, RSAPrivateKey):
        raise CabinetError("WeChat Pay: the merchant's private key is no RSA key")
    return key
