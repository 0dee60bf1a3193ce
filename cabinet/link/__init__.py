"""The local sockets of guard and service: message formats, roles, client and server."""
