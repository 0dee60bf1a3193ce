"""Network addresses of clients, as used by limits and logs. Pure."""

import ipaddress
from collections.abc import Iterable

MAX_ADDRESS_LENGTH = 64


def source_of(host: str | None) -> str:
    """Return the address that limits count by; for IPv6 the /64 network, because one subscriber gets a whole one."""
    if not host:
        return "unknown"
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:MAX_ADDRESS_LENGTH]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


class Networks:
    """Trusted proxies of the configuration."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(entry, strict=False) for entry in entries]

    def __contains__(self, host: object) -> bool:
        try:
            address = ipaddress.ip_address(str(host).partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)
