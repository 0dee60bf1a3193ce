"""A real mosquitto with the configuration of `fleet broker config`, on loopback, and its certificates."""

import contextlib
import datetime
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cabinet.clock import SystemClock
from cabinet.uplink import enrolment
from cabinet.uplink.messages import Enrolled
from fleet.broker import BrokerFolder
from fleet.trust import Issued, Revoked, TrustFolder

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
SKIP_REASON = "" if MOSQUITTO and shutil.which("openssl") else "mosquitto and openssl are not installed here"
UP_WITHIN_S = 20
HOST = "127.0.0.1"


class Mosquitto:
    """The broker's process with the configuration in a file; `start`, `kill` and `stop` are its lives."""

    def __init__(self, configuration: Path) -> None:
        self._configuration = configuration
        if os.geteuid() == 0:  # else it would take another account, which cannot read a test's folder
            configuration.write_text("user root\n" + configuration.read_text())
        self.log: list[str] = []
        self._logged = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._drain: threading.Thread | None = None

    def start(self) -> None:
        """Start the broker; return when both listeners are open."""
        assert MOSQUITTO is not None, SKIP_REASON
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", self._configuration], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        already = len(self.log)
        self._drain = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._drain.start()
        self.until_logged("running", already)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(kill=True)

    def stop(self) -> None:
        self._end(kill=False)

    def until_logged(self, words: str, after: int) -> None:
        """Wait for a line with `words` after the first `after` lines of the log."""
        with self._logged:
            assert self._logged.wait_for(lambda: any(words in line for line in self.log[after:]), UP_WITHIN_S), self.log

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stderr is not None
        for line in process.stderr:
            with self._logged:
                self.log.append(line)
                self._logged.notify_all()

    def _end(self, kill: bool) -> None:
        if self._process is None:
            return
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        self._process.wait(UP_WITHIN_S)
        assert self._drain is not None
        self._drain.join(UP_WITHIN_S)
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._process = None


class FleetBroker(Mosquitto):
    """Broker in `folder` with its authority. With `persistence`, its memory outlives a stop."""

    def __init__(
        self,
        folder: Path,
        persistence: bool = False,
        ports: tuple[int, int] | None = None,
        names: tuple[str, ...] = (),
        broker_made: datetime.datetime | None = None,
    ) -> None:
        self.trust = TrustFolder(folder / "trust")
        self.folder = BrokerFolder(folder / "broker")
        self.host = HOST
        self.port, self.fleet_port = ports or free_ports(2)
        self.trust.make([HOST, "localhost", *names], now())
        if broker_made is not None:
            self.trust.make_broker_certificate([HOST], broker_made)
        self.folder.write(self.trust, host=HOST, port=self.port, fleet_host=HOST, fleet_port=self.fleet_port)
        if persistence:
            text = self.folder.configuration.read_text()
            text = text.replace("persistence false", f"persistence true\npersistence_location {folder}/")
            self.folder.configuration.write_text(text)
        super().__init__(self.folder.configuration)

    def revoke(self, *serials: str) -> None:
        """Revoke certificates, as `fleet cabinet revoke` does; return when the broker has read the list."""
        already = len(self.log)
        self.trust.write_crl([Revoked(serial, now()) for serial in serials], now())
        assert self.folder.update_crl(self.trust), "the broker of this machine reads it"
        self.until_logged("Reloading config", already)

    def enrol(
        self, cabinet: str, state: Path, *, port: int | None = None, made: datetime.datetime | None = None
    ) -> Issued:
        """Make key and certificate of `cabinet`, and store them in `state`, as after an enrolment over https.

        `port`: of a proxy instead of the broker's own; `made`: when the certificate was signed, instead of now.
        """
        key, csr = enrolment.make_key_and_csr()
        issued = self.trust.sign_csr(csr, cabinet, made or now())
        enrolled = Enrolled(
            cabinet=cabinet,
            certificate_pem=issued.pem,
            ca_pem=self.trust.ca_pem(),
            host=self.host,
            port=port or self.port,
            keys=self.trust.public_keys(),
            public_url="http://127.0.0.1",
        )
        enrolment.EnrolmentFiles(state).store(key, enrolled)
        return issued

    def client_tls(self, cabinet: str, folder: Path) -> ssl.SSLContext:
        """Make key and certificate of `cabinet` in `folder`; return the TLS settings of its connection."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cabinet)])
        csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        issued = self.trust.sign_csr(csr.public_bytes(serialization.Encoding.PEM).decode(), cabinet, now())
        identity = folder / f"{cabinet}.pem"
        encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        identity.write_bytes(key.private_bytes(*encoding) + issued.pem.encode())
        return tls(self.trust.ca_certificate, identity)

    def fleet_tls(self) -> ssl.SSLContext:
        """Return the TLS settings of the fleet's own processes, for `fleet_port`."""
        return tls(self.trust.ca_certificate, self.trust.fleet_certificate, self.trust.fleet_key)


def tls(ca: Path, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Return TLS 1.3 settings of a client that trusts `ca`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(ca)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def now() -> datetime.datetime:
    return datetime.datetime.fromtimestamp(SystemClock().wall().unix_ms / 1000, datetime.UTC)


def free_ports(count: int) -> list[int]:
    """Return ports that are free on loopback now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def run_mosquitto(configuration: Path) -> Iterator[Mosquitto]:
    """Run a broker with the configuration for the block."""
    broker = Mosquitto(configuration)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextlib.contextmanager
def running_broker(folder: Path, persistence: bool = False) -> Iterator[FleetBroker]:
    """Run a broker for the block."""
    broker = FleetBroker(folder, persistence)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
