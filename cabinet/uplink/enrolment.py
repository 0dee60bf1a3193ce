"""Enrolment of this cabinet at a fleet, renewal of its certificate, and the files of both in `<state>/uplink/`.

The private key is made here and never leaves the cabinet; a code that is good once gets it a certificate. Keys and
requests are made by the `openssl` command: a library for this would cost more memory than the rest of the uplink.
"""

import contextlib
import http.client
import ipaddress
import os
import ssl
import subprocess
import urllib.parse
from pathlib import Path

import msgspec

from cabinet.errors import os_error_at
from cabinet.link.uplink_protocol import FleetKeys, TrustedKey, keys_file, uplink_folder, write_keys
from cabinet.system.atomic_file import sync, write_file
from cabinet.system.secret_files import check_private
from cabinet.uplink import messages
from cabinet.uplink.connection import NO_CHECK_TIME, Broker, tls_context
from cabinet.uplink.messages import Enrol, Enrolled, EnrolRefused
from cabinet.uplink.problems import CODES, EnrolmentError, LinkFailed

OPENSSL_WITHIN_S = 30  # a key takes 0.01 s; entropy may be short just after boot
ANSWER_WITHIN_S = 30
MAX_ANSWER_BYTES = 64 * 1024
RENEW_AFTER = 2 / 3  # of the certificate's life

_KEY = ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:named_curve")
_REQUEST = ("req", "-new", "-sha256", "-subj", "/CN=cabinet", "-key", "/dev/stdin")


class Place(msgspec.Struct, frozen=True):
    """`enrolment.json`: the broker's address and authority, and the names that this cabinet has at the fleet."""

    cabinet: str
    host: str
    port: int
    ca_pem: str
    public_url: str


class Life(msgspec.Struct, frozen=True):
    """Start and end of this cabinet's certificate, in seconds since 1970."""

    not_before_s: int
    not_after_s: int

    @property
    def renew_from_s(self) -> int:
        return int(self.not_before_s + (self.not_after_s - self.not_before_s) * RENEW_AFTER)


class EnrolmentFiles:
    """The files of one enrolment. `identity.pem` holds key and certificate, so both are always of one pair."""

    def __init__(self, state: Path) -> None:
        self.folder = uplink_folder(state)
        self.keys = keys_file(state)
        self._place = self.folder / "enrolment.json"
        self._identity = self.folder / "identity.pem"
        self._new_key = self.folder / "renewal-key.pem"
        self._known_time = self.folder / "known-time"

    def place(self) -> Place | None:
        """Return the enrolment; None if there is none. Raises EnrolmentError for a damaged one."""
        try:
            return msgspec.json.decode(self._place.read_bytes(), type=Place)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise EnrolmentError("enrolment_damaged", str(error)) from error

    def version(self) -> tuple[int, int]:
        """Return a value that changes with each enrolment, but not with a renewal."""
        with contextlib.suppress(OSError):
            found = self._place.stat()
            return found.st_mtime_ns, found.st_ino
        return 0, 0

    def broker(self, place: Place) -> Broker:
        """Return the broker and this cabinet's identity. Raises CabinetError if others may read the key."""
        check_private(self._identity)
        return Broker(place.cabinet, place.host, place.port, place.ca_pem, self._identity)

    def life(self) -> Life:
        """Return start and end of the certificate. Raises EnrolmentError."""
        lines = openssl("x509", "-noout", "-dates", "-in", str(self._identity)).splitlines()
        found = dict(line.split("=", 1) for line in lines if "=" in line)
        try:
            return Life(ssl.cert_time_to_seconds(found["notBefore"]), ssl.cert_time_to_seconds(found["notAfter"]))
        except (KeyError, ValueError) as error:
            raise EnrolmentError("enrolment_damaged", f"{self._identity}: no certificate") from error

    def store(self, key_pem: str, enrolled: Enrolled) -> None:
        """Store a whole enrolment; on disk on return. `enrolment.json` is the last file. Raises CabinetError.

        A power cut amid an enrolment at another fleet may leave files of both: then the broker's certificate is
        refused, and a new code puts it right. At the same fleet any mixture works.
        """
        keys = FleetKeys(enrolled.cabinet, [TrustedKey(key.key_id, key.public) for key in enrolled.keys])
        place = Place(enrolled.cabinet, enrolled.host, enrolled.port, enrolled.ca_pem, enrolled.public_url)
        with os_error_at(self.folder):
            self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            owner = self.folder.stat().st_uid if os.geteuid() == 0 else None  # by root: for the uplink's account
            self._store_identity(place, key_pem, enrolled.certificate_pem, owner)
            write_keys(self.keys, keys)
            if owner is not None:
                os.chown(self.keys, owner, -1)
            write_file(self._place, msgspec.json.encode(place), 0o640, owner=owner)

    def new_request(self) -> str:
        """Make the key of a renewal, store it, and return its request. Raises CabinetError."""
        key, csr = make_key_and_csr()
        with os_error_at(self._new_key):
            write_file(self._new_key, key.encode(), 0o600)
        return csr

    def renew(self, place: Place, certificate_pem: str) -> None:
        """Use the certificate, with the key of the last request, from the next connection on. Raises CabinetError."""
        with os_error_at(self._new_key):
            key = self._new_key.read_text()
        with os_error_at(self.folder):
            self._store_identity(place, key, certificate_pem)
            self._new_key.unlink()

    def _store_identity(self, place: Place, key_pem: str, certificate_pem: str, owner: int | None = None) -> None:
        """Raise EnrolmentError unless certificate and key go together; nothing is replaced then."""
        trial = self.folder / "identity.trial"
        write_file(trial, (key_pem + certificate_pem).encode(), 0o600, owner=owner)
        try:
            tls_context(Broker(place.cabinet, place.host, place.port, place.ca_pem, trial), check_time=True)
            trial.replace(self._identity)
        except LinkFailed as error:
            raise EnrolmentError("bad_answer", error.detail) from error
        finally:
            trial.unlink(missing_ok=True)
        sync(self.folder)

    def known_time_s(self) -> int:
        """Return the latest time, in seconds since 1970, that is known to have passed; 0 if none is."""
        with contextlib.suppress(OSError, ValueError):
            return int(self._known_time.read_text())
        return 0

    def store_known_time(self, unix_s: int) -> None:
        """Store a time of a synchronised clock. Raises OSError."""
        write_file(self._known_time, f"{unix_s}\n".encode())


def make_key_and_csr() -> tuple[str, str]:
    """Return a new private key of EC P-256 and its certificate request, in PEM. Raises EnrolmentError."""
    key = openssl(*_KEY)
    return key, openssl(*_REQUEST, given=key)


def openssl(*words: str, given: str = "") -> str:
    """Return the output of the `openssl` command. Raises EnrolmentError."""
    try:
        done = subprocess.run(
            ["openssl", *words], input=given, capture_output=True, text=True, timeout=OPENSSL_WITHIN_S, check=True
        )
    except subprocess.CalledProcessError as error:
        raise EnrolmentError("openssl_failed", (error.stderr.strip().splitlines() or [""])[-1]) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnrolmentError("openssl_failed", str(error)) from error
    return done.stdout


def request_enrolment(
    fleet_url: str, code: str, csr_pem: str, site_id: str, *, ca: Path | None = None, trusted_time: bool = True
) -> Enrolled:
    """Send a code and a request to `<fleet_url>/enrol` and return the answer. Raises EnrolmentError.

    `ca`: file of the only authority to trust, instead of the system's. Without `trusted_time`, the server's certificate
    is verified without the present time, as the broker's is (`connection.tls_context`).
    """
    parts = urllib.parse.urlsplit(fleet_url)
    if not parts.hostname or parts.scheme not in ("https", "http"):
        raise EnrolmentError("bad_address", fleet_url)
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise EnrolmentError("bad_address", f"{fleet_url}: https is needed")
    body = messages.encode(Enrol(code, csr_pem, site_id))
    try:
        connection = _http_connection(parts, ca, trusted_time)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", parts.path.rstrip("/") + "/enrol", body, headers)
            response = connection.getresponse()
            answer = response.read(MAX_ANSWER_BYTES)
        finally:
            connection.close()
    except ssl.SSLCertVerificationError as error:
        raise EnrolmentError("fleet_untrusted", error.verify_message) from error
    except (OSError, http.client.HTTPException) as error:
        raise EnrolmentError("fleet_unreachable", str(error) or type(error).__name__) from error
    try:
        if response.status == http.HTTPStatus.OK:
            return msgspec.json.decode(answer, type=Enrolled)
        code = msgspec.json.decode(answer, type=EnrolRefused).code
    except msgspec.MsgspecError as error:
        raise EnrolmentError("bad_answer", f"status {response.status}") from error
    raise EnrolmentError(code) if code in CODES else EnrolmentError("bad_answer", code)


def enrol(
    files: EnrolmentFiles,
    fleet_url: str,
    code: str,
    site_id: str,
    *,
    ca: Path | None = None,
    trusted_time: bool = True,
) -> Place:
    """Enrol this cabinet and store all of it. Raises CabinetError, and then the previous enrolment is unchanged."""
    key, csr = make_key_and_csr()
    enrolled = request_enrolment(fleet_url, code, csr, site_id, ca=ca, trusted_time=trusted_time)
    files.store(key, enrolled)
    return Place(enrolled.cabinet, enrolled.host, enrolled.port, enrolled.ca_pem, enrolled.public_url)


def _http_connection(
    parts: urllib.parse.SplitResult, ca: Path | None, trusted_time: bool
) -> http.client.HTTPConnection:
    assert parts.hostname is not None
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=ANSWER_WITHIN_S)
    context = ssl.create_default_context(cafile=None if ca is None else os.fspath(ca))
    if not trusted_time:
        context.verify_flags |= NO_CHECK_TIME
    return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=ANSWER_WITHIN_S, context=context)


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
