"""Merchant accounts ready for use: opened with the key, each behind the port, and read again when they were changed."""

import asyncio
import datetime
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from cabinet.errors import CabinetError
from fleet.config import FleetConfig, PaymentsSection
from fleet.money.payments.alipay import AlipayPay
from fleet.money.payments.alipay_account import AlipayAddresses, AlipaySecrets, AlipaySettings
from fleet.money.payments.http import PlatformHttp
from fleet.money.payments.port import PaymentPlatform
from fleet.money.payments.wechat import WechatPay
from fleet.money.payments.wechat_keys import WechatAddresses, WechatSecrets, WechatSettings
from fleet.money.secret_box import SecretBox, open_box
from fleet.store import merchants
from fleet.store.database import Connection, Pool
from fleet.store.merchants import MerchantRow

log = logging.getLogger(__name__)

FRESH_S = 30.0


class MerchantAccount(msgspec.Struct, frozen=True):
    row: MerchantRow
    platform: PaymentPlatform


class MerchantAccounts:
    """All accounts by id. An account that cannot be opened is left out, with its reason in the log once."""

    def __init__(self, config: FleetConfig, now_s: Callable[[], float], http: PlatformHttp | None = None) -> None:
        self._config, self._now_s = config.payments, now_s
        self.public_url = config.web.public_url
        self.http = http or PlatformHttp()
        self._accounts: dict[int, MerchantAccount] = {}
        self._broken: dict[int, object] = {}
        self._read_at = float("-inf")

    def expires(self) -> datetime.datetime:
        """Return the time until which a payment that begins now can be made."""
        return datetime.datetime.fromtimestamp(self._now_s() + 60 * self._config.expires_minutes, datetime.UTC)

    def now_s(self) -> float:
        return self._now_s()

    def notify_url(self, row: MerchantRow) -> str:
        return f"{self.public_url}/pay/notify/{row.platform}/{row.id}"

    async def find(self, pool: Pool, account_id: int) -> MerchantAccount | None:
        """Return an account in use or retired; None if there is none that can be used."""
        await self._refresh(pool)
        return self._accounts.get(account_id)

    async def offered(self, pool: Pool, company_id: int) -> dict[str, MerchantAccount]:
        """Return the company's accounts that offer payments, by platform."""
        await self._refresh(pool)
        return {
            each.row.platform: each
            for each in self._accounts.values()
            if each.row.company_id == company_id and each.row.retired is None
        }

    @property
    def any_offered(self) -> bool:
        """Return whether any company offers payments, as far as is known."""
        return any(each.row.retired is None for each in self._accounts.values())

    async def all(self, pool: Pool) -> list[MerchantAccount]:
        await self._refresh(pool)
        return list(self._accounts.values())

    async def _refresh(self, pool: Pool) -> None:
        """Read the rows again after half a minute, and open those that are new or changed."""
        now = asyncio.get_running_loop().time()
        if now - self._read_at < FRESH_S:
            return
        self._read_at = now
        async with pool.connection() as connection:
            found = await merchants.everyone(connection)
        box: SecretBox | None = None
        kept: dict[int, MerchantAccount] = {}
        for row in found:
            known = self._accounts.get(row.id)
            if known is not None and known.row.changed == row.changed:
                kept[row.id] = MerchantAccount(row, known.platform)  # its platform's keys stay known
                continue
            try:
                box = box or open_box(Path(self._config.key))
                kept[row.id] = MerchantAccount(row, self._opened(row, box))
            except CabinetError as error:
                if self._broken.get(row.id) != row.changed:
                    self._broken[row.id] = row.changed
                    log.error("merchant account %s cannot be used: %s", row.id, error)
        self._accounts = kept

    def forget(self) -> None:
        """Read the rows again with the next call."""
        self._read_at = float("-inf")

    def _opened(self, row: MerchantRow, box: SecretBox) -> PaymentPlatform:
        settings, hidden = read_account(row.platform, row.settings, box.open(row.secrets, row.label))
        if isinstance(settings, WechatSettings):
            assert isinstance(hidden, WechatSecrets)
            return WechatPay(settings, hidden, self.http, self._now_s, _wechat_addresses(self._config))
        assert isinstance(hidden, AlipaySecrets)
        return AlipayPay(settings, hidden, self.http, self._now_s, _alipay_addresses(self._config))


def read_account(
    platform: str, settings: Any, secrets: bytes
) -> tuple[WechatSettings | AlipaySettings, WechatSecrets | AlipaySecrets]:
    """Return the settings and secrets of an account, checked by type. Raises CabinetError, which shows no secret."""
    try:
        if platform == "wechat":
            given = msgspec.convert(settings, WechatSettings)
            return given, msgspec.json.decode(secrets, type=WechatSecrets)
        return msgspec.convert(settings, AlipaySettings), msgspec.json.decode(secrets, type=AlipaySecrets)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise CabinetError(f"account at {platform}: {error}") from None


def try_account(platform: str, settings: Any, secrets: bytes, http: PlatformHttp, now_s: Callable[[], float]) -> None:
    """Raise CabinetError if an account with these values could not be used."""
    own, hidden = read_account(platform, settings, secrets)
    if isinstance(own, WechatSettings):
        assert isinstance(hidden, WechatSecrets)
        WechatPay(own, hidden, http, now_s)
    else:
        assert isinstance(hidden, AlipaySecrets)
        AlipayPay(own, hidden, http, now_s)


def _wechat_addresses(section: PaymentsSection) -> WechatAddresses:
    return WechatAddresses(api=section.wechat_url, login=section.wechat_login_url, identity=section.wechat_identity_url)


def _alipay_addresses(section: PaymentsSection) -> AlipayAddresses:
    return AlipayAddresses(gateway=section.alipay_url, login=section.alipay_login_url)


async def add_account(
    connection: Connection, box: SecretBox, company_id: int, platform: str, settings: dict[str, Any], secrets: bytes
) -> int:
    """Add or replace a company's account, its secrets sealed; return its id. Raises CabinetError."""
    own, _ = read_account(platform, settings, secrets)
    merchant = own.sub_merchant or own.merchant if isinstance(own, WechatSettings) else own.merchant
    label = f"{company_id}:{platform}:{merchant}:{own.app}"
    sealed = box.seal(secrets, label)
    return await merchants.add(connection, company_id, platform, merchant, own.app, settings, sealed)
