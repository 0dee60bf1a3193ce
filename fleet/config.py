"""Keys of `fleet.toml`, each declared once: type, unit (in the name), bounds, default and reason.

Declared and checked like `cabinet.toml`: every mistake is found at once and named with its key. Relative paths are
taken from the folder of the file.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from cabinet.config import check
from cabinet.errors import ConfigError
from cabinet.sections import Address, Section, number, text

DEFAULT = Path("/etc/cabinet-fleet/fleet.toml")

REFERENCE_HEAD = """\
# fleet.toml: every key

Printed by `fleet check --reference` from the declarations in `fleet/config.py`; do not edit by hand. `fleet check`
finds every mistake in a file, and problems of database, broker and keys. Relative paths are taken from its folder;
`trust/` at the beginning of a file of `[broker]` is `trust.folder`.
"""

IN_TRUST = "trust/"

SAMPLE: dict[str, Any] = {
    "database": {"url": "postgresql:///fleet"},
    "web": {"public_url": "https://charge.example.org"},
}
"""A file with all required keys, for samples of missing values."""


class DatabaseSection(Section, frozen=True, kw_only=True):
    """PostgreSQL 15 or newer."""

    url: Annotated[str, text("address as libpq takes it, such as postgresql:///fleet or host=… dbname=…", longest=500)]
    pool_size: Annotated[int, number("connections that one process holds at most", least=2, most=100)] = 10
    lock_timeout_s: Annotated[
        float, number("a migration waits so long for a table that is in use, then fails", least=0.1, most=600)
    ] = 10.0


class BrokerSection(Section, frozen=True, kw_only=True):
    """The MQTT 5 broker: one listener for the fleet's own processes, and a public one for the cabinets."""

    host: Annotated[str, text("broker as the worker reaches it")] = "127.0.0.1"
    port: Annotated[int, number("port for the worker", least=1, most=65_535)] = 8884
    public_host: Annotated[str, Meta(max_length=200, description="broker as cabinets reach it; empty: `host`")] = ""
    public_port: Annotated[int, number("port for cabinets", least=1, most=65_535)] = 8883
    ca: Annotated[
        str, Meta(max_length=200, description="file of the CA that signs the broker's certificate; empty: no TLS")
    ] = IN_TRUST + "ca.pem"
    certificate: Annotated[str, Meta(max_length=200, description="file of the worker's client certificate (PEM)")] = (
        IN_TRUST + "fleet.pem"
    )
    key: Annotated[str, Meta(max_length=200, description="file of its private key (PEM)")] = IN_TRUST + "fleet.key"
    folder: Annotated[
        str, text("folder that `fleet broker config` writes for the broker, with the revocation list")
    ] = "broker"
    keepalive_s: Annotated[int, number("a broken connection is noticed after 1.5 times this", least=5, most=60)] = 30


class TrustSection(Section, frozen=True, kw_only=True):
    """Keys and certificates of the fleet; `fleet broker config` makes them."""

    folder: Annotated[str, text("folder of the CA, and of the keys that sign messages to cabinets")] = "trust"
    certificate_days: Annotated[int, number("life of a cabinet's certificate", least=2, most=3650)] = 365
    code_hours: Annotated[int, number("an enrolment code is good for so long", least=1, most=720)] = 24


class WebSection(Section, frozen=True, kw_only=True):
    """Pages of residents and property companies, and the enrolment of cabinets."""

    public_url: Annotated[
        str, text("address that phones reach; printed in the codes", pattern="^https?://[^/ ]+$", longest=200)
    ]
    name: Annotated[str, text("on pages that are about no site in particular", longest=80)] = "小区充电"
    name_en: Annotated[str, Meta(max_length=80, description="the same in English; empty: as `name`")] = "Charging"
    complaint_phone: Annotated[
        str, Meta(max_length=40, description="for a company without a phone of its own; empty: none is shown")
    ] = ""
    host: Annotated[str, text("address the web server listens on")] = "127.0.0.1"
    port: Annotated[int, number("port of the web server; 0: any free one", least=0, most=65_535)] = 8090
    tls_certificate: Annotated[
        str, Meta(max_length=200, description="file of the certificate and its chain (PEM): https; empty: http")
    ] = ""
    tls_key: Annotated[str, Meta(max_length=200, description="file of its private key (PEM)")] = ""
    trusted_proxies: Annotated[
        tuple[Address, ...],
        Meta(max_length=16, description="proxies: their X-Forwarded-For and -Proto headers are used"),
    ] = ()
    connections_per_address: Annotated[
        int, number("open connections of one address, which many phones may share", least=10, most=400)
    ] = 100
    metrics_port: Annotated[
        int, number("port of /metrics on 127.0.0.1, for Prometheus; 0: none", least=0, most=65_535)
    ] = 0
    staff_idle_s: Annotated[float, number("a property login left alone ends", least=60, most=43_200)] = 3600.0
    resident_days: Annotated[int, number("a resident stays signed in for so long", least=1, most=400)] = 90


class SmsSection(Section, frozen=True, kw_only=True):
    """Codes by SMS for the sign-in of residents."""

    provider: Annotated[
        str,
        Meta(
            pattern="^(none|file|aliyun)$",
            description="none: cards only; file: codes are appended to `file`; aliyun: Alibaba Cloud SMS",
        ),
    ] = "none"
    file: Annotated[str, text('for `provider = "file"`, one line a message')] = "sms.txt"
    code_minutes: Annotated[int, number("a code is good for so long", least=1, most=60)] = 5
    access_key_id: Annotated[str, Meta(max_length=100, description="for aliyun")] = ""
    access_key_secret: Annotated[
        str, Meta(max_length=200, description="for aliyun: file with the secret of the access key")
    ] = ""
    sign_name: Annotated[str, Meta(max_length=40, description="for aliyun: approved signature of the messages")] = ""
    template_code: Annotated[
        str, Meta(max_length=40, description="for aliyun: approved template with the variable `code`")
    ] = ""
    codes_per_hour: Annotated[
        int, number("codes sent to all numbers in an hour; more is an attack on the bill", least=1, most=1_000_000)
    ] = 2000
    codes_per_phone_hour: Annotated[int, number("codes sent to one number in an hour", least=1, most=100)] = 5


class OrdersSection(Section, frozen=True, kw_only=True):
    """Charges started by phone."""

    minimum_hold_fen: Annotated[int, number("a wallet with less starts nothing", least=0, most=100_000)] = 100
    full_hold_fen: Annotated[
        int, number("held for a charge until full, where the wallet has it", least=1, most=1_000_000)
    ] = 500
    give_back_after_hours: Annotated[
        int,
        number("without a usage record, the money of a charge goes back after so long", least=25, most=2160),
    ] = 72


class PaymentsSection(Section, frozen=True, kw_only=True):
    """Payments by phone. `fleet merchant add` connects the accounts of a company; without any, none is offered."""

    key: Annotated[
        str,
        Meta(
            max_length=200,
            description="file of the key that seals the accounts' secrets; empty: payments.key in `trust.folder`",
        ),
    ] = ""
    expires_minutes: Annotated[int, number("a payment can be made for so long", least=2, most=120)] = 10
    wechat_url: Annotated[str, text("WeChat Pay's API", pattern="^https?://[^ ?]+[^ ?/]$", longest=200)] = (
        "https://api.mch.weixin.qq.com"
    )
    wechat_login_url: Annotated[str, text("WeChat's page that names a person", longest=200)] = (
        "https://open.weixin.qq.com/connect/oauth2/authorize"
    )
    wechat_identity_url: Annotated[str, text("WeChat's API that names a person", longest=200)] = (
        "https://api.weixin.qq.com/sns/oauth2/access_token"
    )
    alipay_url: Annotated[str, text("Alipay's gateway", longest=200)] = "https://openapi.alipay.com/gateway.do"
    alipay_login_url: Annotated[str, text("Alipay's page that names a person", longest=200)] = (
        "https://openauth.alipay.com/oauth2/publicAppAuthorize.htm"
    )


class RetentionSection(Section, frozen=True, kw_only=True):
    """Data that is dropped by itself. Money, usage logs and audit are kept."""

    telemetry_months: Annotated[
        int, number("whole months of states kept before the present one", least=1, most=120)
    ] = 13
    fact_days: Annotated[
        int, number("facts kept as they arrived; their effects stay for ever", least=31, most=3650)
    ] = 400


class FleetConfig(Section, frozen=True, kw_only=True):
    database: DatabaseSection
    broker: BrokerSection = BrokerSection()
    trust: TrustSection = TrustSection()
    web: WebSection
    sms: SmsSection = SmsSection()
    orders: OrdersSection = OrdersSection()
    payments: PaymentsSection = PaymentsSection()
    retention: RetentionSection = RetentionSection()


def load(path: Path) -> FleetConfig:
    """Return the checked configuration in `path`. Raises ConfigErrors, also if the file cannot be read."""
    return parse(check.read(path), str(path), path.parent)


def parse(source_text: str, source: str = "fleet.toml", folder: Path = Path()) -> FleetConfig:
    """Return the configuration in the text; its paths are absolute. Raises ConfigErrors with every mistake found."""
    found = check.parse_as(check.Form(FleetConfig, lambda: SAMPLE), _conflicts, source_text, source)
    trusted = _absolute(found.trust.folder, folder)
    broker = msgspec.structs.replace(
        found.broker,
        ca=_in_trust(found.broker.ca, folder, trusted),
        certificate=_in_trust(found.broker.certificate, folder, trusted),
        key=_in_trust(found.broker.key, folder, trusted),
        public_host=found.broker.public_host or found.broker.host,
        folder=_absolute(found.broker.folder, folder),
    )
    trust = msgspec.structs.replace(found.trust, folder=trusted)
    web = msgspec.structs.replace(
        found.web,
        tls_certificate=_absolute(found.web.tls_certificate, folder),
        tls_key=_absolute(found.web.tls_key, folder),
    )
    sms = msgspec.structs.replace(
        found.sms,
        file=_absolute(found.sms.file, folder),
        access_key_secret=_absolute(found.sms.access_key_secret, folder),
    )
    key = _absolute(found.payments.key, folder) or str(Path(trust.folder) / "payments.key")
    payments = msgspec.structs.replace(found.payments, key=key)
    return msgspec.structs.replace(found, broker=broker, trust=trust, web=web, sms=sms, payments=payments)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option `--config` of every command."""
    parser.add_argument("--config", type=Path, default=DEFAULT, metavar="FILE", help=f"(default: {DEFAULT})")


def _absolute(path: str, folder: Path) -> str:
    return str((folder / path).absolute()) if path else ""


def _in_trust(path: str, folder: Path, trusted: str) -> str:
    """Return an absolute path; `trust/` at its beginning is the trust folder, wherever that is."""
    name = path.removeprefix(IN_TRUST)
    return str(Path(trusted) / name) if name != path else _absolute(path, folder)


def _conflicts(config: FleetConfig) -> Iterator[ConfigError]:
    broker, web, orders = config.broker, config.web, config.orders
    if bool(broker.certificate) != bool(broker.key):
        yield ConfigError("broker.key", "certificate and key belong together: give both or neither")
    if broker.certificate and not broker.ca:
        yield ConfigError("broker.ca", "a client certificate needs TLS: name the CA of the broker")
    if bool(web.tls_certificate) != bool(web.tls_key):
        yield ConfigError("web.tls_key", "certificate and key belong together: give both or neither")
    for key in ("access_key_id", "access_key_secret", "sign_name", "template_code"):
        if config.sms.provider == "aliyun" and not getattr(config.sms, key):
            yield ConfigError(f"sms.{key}", "aliyun needs it")
    if orders.minimum_hold_fen > orders.full_hold_fen:
        yield ConfigError("orders.minimum_hold_fen", "is above orders.full_hold_fen: no charge until full could start")
