"""Enrolment of cabinets: a code that is good once gets a certificate; a certificate gets its successor.

A wrong, used and expired code have one answer, and wrong ones are counted by the address they come from. Each function
takes a connection without an open transaction, because a failure is stored although the rest is rolled back.
"""

import datetime
import hashlib
import ipaddress
import secrets

import msgspec

from cabinet.errors import CabinetError
from cabinet.uplink.messages import Certificate, Enrol, Enrolled
from fleet.store import audit, certificates, rows
from fleet.store.database import Connection
from fleet.trust import TrustError, TrustFolder

LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # 32, without 0, 1, I and O: read out over a telephone
GROUPS, GROUP = 4, 4  # 16 letters of 5 bits: 80 bits
MAX_FAILURES = 10  # from one address, within FAILURES_SPAN
FAILURES_SPAN = datetime.timedelta(hours=1)
MAX_RENEWALS = 10  # in RENEWALS_SPAN; one may be lost on the way, and is asked for again an hour later
RENEWALS_SPAN = datetime.timedelta(days=1)
STATUS = {"code_refused": 403, "too_many_tries": 429, "bad_request": 400}
OPERATOR = "fleet"  # in the audit log: the enrolment itself, which no member of staff does


class EnrolmentRefused(CabinetError):
    """A cabinet was not enrolled. `code` is that of `messages.EnrolRefused`, `status` that of the https answer."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
        self.status = STATUS[code]


class EnrolmentPlace(msgspec.Struct, frozen=True):
    """Addresses that a cabinet gets: the broker's public listener, and the fleet's pages."""

    host: str
    port: int
    public_url: str


def new_code() -> str:
    """Return a new code, in groups: ABCD-EFGH-JKLM-NPQR."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(GROUP)) for _ in range(GROUPS))


def code_hash(code: str) -> str:
    """Return the stored form of a code, however it was typed. Pure."""
    plain = "".join(letter for letter in code.upper() if letter.isalnum())
    return hashlib.sha256(plain.encode()).hexdigest()


def address_key(address: str) -> str:
    """Return the key by which failures of an address are counted; an IPv6 subscriber has a whole /64. Pure."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"enrol:{address[:64]}"
    if parsed.version == 6:
        return f"enrol:{ipaddress.ip_network((parsed, 64), strict=False)}"
    return f"enrol:{parsed}"


async def make_code(connection: Connection, cabinet: str, life: datetime.timedelta) -> str:
    """Return a new code for the cabinet, good once and for `life`. Earlier unused ones are void."""
    code = new_code()
    async with connection.transaction():
        await certificates.add_code(connection, cabinet, code_hash(code), life)
    return code


async def enrol(
    connection: Connection,
    trust: TrustFolder,
    request: Enrol,
    address: str,
    place: EnrolmentPlace,
    now: datetime.datetime,
    days: int = 365,
) -> Enrolled:
    """Enrol the cabinet that the code is for. Raises EnrolmentRefused.

    Certificates that it had before are revoked (the revocation list is `fleet.revocation`'s), and it counts as in use
    again if it was revoked.
    """
    key = address_key(address)
    async with connection.transaction():
        if await certificates.failures(connection, key, FAILURES_SPAN) >= MAX_FAILURES:
            raise EnrolmentRefused("too_many_tries")
    try:
        async with connection.transaction():
            cabinet = await certificates.use_code(connection, code_hash(request.code))
            if cabinet is None:
                raise EnrolmentRefused("code_refused")
            try:
                issued = trust.sign_csr(request.csr_pem, cabinet, now, days)
            except TrustError as error:
                raise EnrolmentRefused("bad_request") from error
            await certificates.revoke_all(connection, cabinet)
            await certificates.add(connection, issued.serial, cabinet, issued.not_before, issued.not_after)
            company_id = await rows.value(
                connection, "UPDATE cabinet SET revoked = NULL WHERE id = %s RETURNING company_id", (cabinet,)
            )
            await audit.add(
                connection,
                company_id,
                OPERATOR,
                "cabinet_enrolled",
                address=address,
                subject=cabinet,
                detail=issued.serial,
            )
    except EnrolmentRefused:
        async with connection.transaction():
            await certificates.add_failure(connection, key)
        raise
    return Enrolled(
        cabinet=cabinet,
        certificate_pem=issued.pem,
        ca_pem=trust.ca_pem(),
        host=place.host,
        port=place.port,
        keys=trust.public_keys(),
        public_url=place.public_url,
    )


async def renew(
    connection: Connection,
    trust: TrustFolder,
    cabinet: str,
    csr_pem: str,
    now: datetime.datetime,
    days: int = 365,
) -> Certificate:
    """Return the next certificate of a cabinet that is connected by its present one. Raises EnrolmentRefused.

    The present one stays valid: the answer may be lost.
    """
    async with connection.transaction():
        used = await rows.value(connection, "SELECT revoked IS NULL FROM cabinet WHERE id = %s FOR UPDATE", (cabinet,))
        if not used:
            raise EnrolmentRefused("code_refused")
        if await certificates.made_within(connection, cabinet, RENEWALS_SPAN) >= MAX_RENEWALS:
            raise EnrolmentRefused("too_many_tries")
        try:
            issued = trust.sign_csr(csr_pem, cabinet, now, days)
        except TrustError as error:
            raise EnrolmentRefused("bad_request") from error
        await certificates.add(connection, issued.serial, cabinet, issued.not_before, issued.not_after)
    return Certificate(cabinet=cabinet, certificate_pem=issued.pem)
