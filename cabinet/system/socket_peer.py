"""Peer of a local socket, as reported by the kernel."""

import socket
import struct

_CREDENTIALS = struct.Struct("3i")  # SO_PEERCRED: pid, uid, gid


def peer_uid(connection: socket.socket) -> int:
    """Return the user that connected. It cannot be forged: the kernel recorded it at that moment."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    return int(uid)
