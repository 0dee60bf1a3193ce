"""Hashes of PINs and passwords (argon2id), of a cabinet and of a fleet."""

import functools
import secrets

import argon2
import argon2.exceptions

# 19 MiB, two passes: the least memory that OWASP's password storage page gives for argon2id; a Pi has little memory
HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


def hash_secret(secret: str) -> str:
    """Return the hash of `secret`; takes about 50 ms."""
    return HASHER.hash(secret)


@functools.cache
def _dummy_hash() -> str:
    return hash_secret(secrets.token_hex(16))


def matches(secret_hash: str | None, secret: str) -> bool:
    """Return whether `secret` matches the hash; None (no such name) takes as long and never matches."""
    try:
        HASHER.verify(secret_hash or _dummy_hash(), secret)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    return secret_hash is not None
