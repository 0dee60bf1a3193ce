"""Mosquitto's folder for a fleet: two listeners, topics tied to the certificate's name, nothing kept on disk.

Cabinets reach the public listener with a certificate of the fleet's authority; its common name becomes user and client
id, so one identity has one connection and cannot end another's. The fleet's own processes reach the second listener.
The folder holds copies of all that the broker reads, and no secret but the broker's own key: it may be on another
machine.
"""

import contextlib
import os
import signal
from pathlib import Path

from cabinet.errors import os_error_at
from cabinet.system.atomic_file import write_file
from cabinet.uplink.messages import MAX_MESSAGE
from fleet.trust import FLEET_NAME, TrustFolder

PUBLIC_PORT = 8883
FLEET_PORT = 8884
MAX_PACKET_BYTES = MAX_MESSAGE + 1024  # topic and properties beside the payload
MAX_KEEP_ALIVE_S = 120
MAX_QUEUED = 20_000
MAX_IN_FLIGHT = 1000

ACL = f"""\
# The common name of the client certificate is the user (use_identity_as_username): %u is a cabinet's id.
pattern write cab/%u/up/#
pattern read cab/%u/down/#

user {FLEET_NAME}
topic readwrite cab/#
"""


class BrokerFolder:
    """Folder of the broker: `write` makes it whole, `update_crl` replaces the revocation list and has it read again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.configuration = path / "mosquitto.conf"

    def write(
        self,
        trust: TrustFolder,
        *,
        host: str = "",
        port: int = PUBLIC_PORT,
        fleet_host: str = "127.0.0.1",
        fleet_port: int = FLEET_PORT,
    ) -> None:
        """Write configuration, rights, certificates and revocation list. Raises CabinetError.

        `host` empty: the public listener is on all addresses. The group may read the broker's key: the broker's own
        account is a member (cabinet-fleet-broker.service).
        """
        text = _configuration(self.path, host, port, fleet_host, fleet_port)
        with os_error_at(self.path):
            self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
            write_file(self.path / "acl", ACL.encode(), 0o640)
            for source in (trust.ca_certificate, trust.broker_certificate, trust.fleet_certificate, trust.crl):
                write_file(self.path / source.name, source.read_bytes(), 0o640)
            write_file(self.path / trust.broker_key.name, trust.broker_key.read_bytes(), 0o640)
            write_file(self.configuration, text.encode(), 0o640)

    def update_crl(self, trust: TrustFolder) -> bool:
        """Replace the revocation list. Return whether a running broker was made to read it. Raises CabinetError."""
        with os_error_at(self.path):
            write_file(self.path / trust.crl.name, trust.crl.read_bytes(), 0o640)
        return self.reload()

    def reload(self) -> bool:
        """Have the broker on this machine read its lists again; return False if there is none, or it is not ours."""
        found = [pid for pid in _brokers() if bytes(self.configuration) in _command_line(pid)]
        try:
            for pid in found:
                os.kill(pid, signal.SIGHUP)
        except OSError:
            return False
        return bool(found)


def _brokers() -> list[int]:
    """Return the processes named mosquitto."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and (folder / "comm").read_text() == "mosquitto\n":
                found.append(int(folder.name))
    return found


def _command_line(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return []


def _configuration(folder: Path, host: str, port: int, fleet_host: str, fleet_port: int) -> str:
    """Return mosquitto.conf. Pure."""
    return f"""\
# Written by `fleet broker config`; tested with Mosquitto 2.0.11.
per_listener_settings false
allow_anonymous false
acl_file {folder / "acl"}

# Nothing here is worth a disk: what the broker loses is sent again (facts until the fleet has committed them, state and
# online at each connect). With persistence, the whole memory is written again and again, and a damaged or full disk
# would stop the broker.
persistence false

# A packet is a message of at most {MAX_MESSAGE} bytes and its topic. Aliases are off: with QoS 1 they break after a
# reconnect in common client libraries.
max_packet_size {MAX_PACKET_BYTES}
max_topic_alias 0
max_keepalive {MAX_KEEP_ALIVE_S}

# For one client that is slow or away: a worker that restarts while 10,000 cabinets send 350 messages a second has a
# minute. Beyond it, messages are dropped, and the cabinets send their facts again. The queue of a cabinet ends with its
# session, a minute after its connection.
max_queued_messages {MAX_QUEUED}
max_inflight_messages {MAX_IN_FLIGHT}
queue_qos0_messages false
set_tcp_nodelay true

log_type error
log_type warning
log_type notice
log_type information
connection_messages false

# --- cabinets ---------------------------------------------------------------------------------------------------------
listener {port}{f" {host}" if host else ""}
cafile {folder / "ca.pem"}
certfile {folder / "broker.pem"}
keyfile {folder / "broker.key"}
crlfile {folder / "crl.pem"}
tls_version tlsv1.3
require_certificate true
use_identity_as_username true
# The client id is the certificate's name too: a second connection of the same identity replaces the first, no identity
# can end the connection of another, and the fleet closes a revoked one by taking its id over (`fleet cabinet revoke`).
use_username_as_clientid true

# --- the fleet's own processes ----------------------------------------------------------------------------------------
listener {fleet_port} {fleet_host}
# Only this certificate, which signs itself: no cabinet gets in here, where a client chooses its id.
cafile {folder / "fleet.pem"}
certfile {folder / "broker.pem"}
keyfile {folder / "broker.key"}
tls_version tlsv1.3
require_certificate true
use_identity_as_username true
"""
