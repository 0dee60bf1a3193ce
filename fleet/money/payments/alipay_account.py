"""A merchant account at Alipay."""

import msgspec


class AlipaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The public part of an account. `roots` are Alipay's root certificates, `certificates` those it signs with now."""

    merchant: str  # seller's id, 2088…
    app: str
    app_certificate: str  # PEM
    roots: str  # PEM
    certificates: tuple[str, ...] = ()  # PEM, each with the chain to its root


class AlipaySecrets(msgspec.Struct, frozen=True, kw_only=True):
    private_key: str  # PEM
    app_auth_token: str = ""  # the merchant's consent, if the app is a service provider's

    def __repr__(self) -> str:
        return "AlipaySecrets(…)"  # in no log and in no traceback


class AlipayAddresses(msgspec.Struct, frozen=True, kw_only=True):
    gateway: str = "https://openapi.alipay.com/gateway.do"
    login: str = "https://openauth.alipay.com/oauth2/publicAppAuthorize.htm"
