"""Keys for orders in a running fleet: which one signs, and which cabinets have to get another set.

Rotation: `fleet broker new-key` adds a second key; the worker hands both out; when every cabinet has them, `fleet
broker retire-key` deletes the first, and the worker hands the other one out alone. The oldest key signs, because it is
the one that every cabinet trusts.
"""

from collections.abc import Callable, Mapping, Sequence

from nacl.signing import SigningKey

from cabinet.uplink.messages import FleetKey, TrustKeys
from fleet.store.database import Connection
from fleet.trust import public_key

MAX_AT_ONCE = 500  # cabinets that get keys in one minute


class OrderKeys:
    """Keys as last read; `read` returns them from the trust folder, oldest first (`TrustFolder.signing_keys`)."""

    def __init__(self, read: Callable[[], list[SigningKey]]) -> None:
        self._read = read
        self._keys = read()

    def refresh(self) -> None:
        """Read them again. Raises CabinetError, and then the keys stay."""
        self._keys = self._read()

    @property
    def signing_key(self) -> SigningKey:
        return self._keys[0]

    def public(self) -> list[FleetKey]:
        """Return the keys that every cabinet shall trust, oldest first."""
        return [public_key(key) for key in self._keys]

    def message(self, cabinet: str) -> TrustKeys:
        return TrustKeys(cabinet=cabinet, keys=self.public())


async def without(connection: Connection, wanted: Sequence[FleetKey]) -> list[str]:
    """Return cabinets that are online and trust other keys than these, some at a time."""
    cursor = await connection.execute(
        "SELECT id FROM cabinet WHERE online AND revoked IS NULL AND trusted_keys <> '{}'"
        " AND trusted_keys <> %s::text[] ORDER BY id LIMIT %s",
        ([key.key_id for key in wanted], MAX_AT_ONCE),
    )
    return [cabinet for (cabinet,) in await cursor.fetchall()]


async def that_do_not_trust(connection: Connection, key_id: str) -> list[str]:
    """Return the enrolled cabinets that do not have this key."""
    cursor = await connection.execute(
        "SELECT id FROM cabinet WHERE revoked IS NULL AND trusted_keys <> '{}' AND NOT %s = ANY(trusted_keys)"
        " ORDER BY id",
        (key_id,),
    )
    return [cabinet for (cabinet,) in await cursor.fetchall()]


async def report(connection: Connection, reported: Mapping[str, Sequence[str]]) -> None:
    """Store the ids of the keys that cabinets report to trust."""
    await connection.execute(
        "UPDATE cabinet SET trusted_keys = string_to_array(new.keys, ' ')"
        " FROM unnest(%s::text[], %s::text[]) AS new (id, keys)"
        " WHERE cabinet.id = new.id AND trusted_keys <> string_to_array(new.keys, ' ')",
        (list(reported), [" ".join(keys) for keys in reported.values()]),
    )
