"""Compression of states and facts: mobile data is counted. Pure.

zlib with a dictionary of the words that every message repeats: a state of ten charging outlets shrinks from 3.3 kB to
0.6 kB. The dictionary is part of the protocol: it never changes, also when the messages get other fields. zlib stores
its checksum, so a payload that was packed with another one is refused.
"""

import zlib

from cabinet.errors import CabinetError

_FIRST = b"x"  # byte of each zlib stream; JSON begins with a brace
_DICTIONARY = (
    b'{"epoch":"","facts":[{"number":1,"body":{"kind":"alarm","outlet":0,"fault":"overcurrent","raised":true,"at":'
    b'{"unix_ms":17,"trusted":true}}},{"number":2,"body":{"kind":"session_started","session_id":"","order_number":"",'
    b'"outlet":1,"choice":"full","choice_amount":0,"held_fen":500,"tariff_version":"","started":{"unix_ms":17,"trusted":'
    b'true},"order":null,"holder":""}},{"number":3,"body":{"kind":"session_settled","record":{"number":1,"order_number":'
    b'"","session_id":"","site_id":"","outlet":1,"card":"","started":{"unix_ms":17,"trusted":true},"ended":{"unix_ms":'
    b'17,"trusted":true},"powered_s":0,"charging_s":0,"energy_mwh":0,"peak_power_mw":0,"mean_power_mw":0,"lines":[{'
    b'"kind":"electricity"}],"electricity_fen":0,"service_fen":0,"total_fen":0,"held_fen":500,"refund_fen":0,'
    b'"end_reason":"full","fault":null,"tariff_version":"","previous_hash":"","record_hash":"","holder":""},"order":null}'
    b'}],"v":1}{"at":{"unix_ms":17,"trusted":true},"boot":"","epoch":"","challenge":"","outlets":[{"number":1,"condition"'
    b':"needs_service","refusal":null,"fault":null,"temperature_mc":2,"note":"","session_id":null,"order":null,"phase":'
    b'"","power_mw":null,"energy_mwh":0,"powered_s":0,"charging_s":0,"cost_fen":0,"suspended_for":null},{"number":2,'
    b'"condition":"free","refusal":null,"fault":null,"temperature_mc":2,"note":"","session_id":"","order":"","phase":'
    b'"charging","power_mw":1,"energy_mwh":1,"powered_s":1,"charging_s":1,"cost_fen":1,"suspended_for":null},{"number":3,'
    b'"condition":"in_use","refusal":null,"fault":null,"temperature_mc":2}],"v":1,"accepting":null,"fault":null,"feed_mw":'
    b'1,"feed_limit_mw":1,"waiting":0,"problems":[],"software":"","versions":{"tariffs":1},"rejected":{},"facts":1,'
    b'"acked":1,"signal":null}'
)


class PackingError(CabinetError):
    """A packed payload that is damaged, too large, or was packed with another dictionary."""


def pack(payload: bytes) -> bytes:
    packing = zlib.compressobj(zlib.Z_BEST_COMPRESSION, zdict=_DICTIONARY)
    return packing.compress(payload) + packing.flush()


def unpack(payload: bytes, most: int) -> bytes:
    """Return a payload as it was before `pack`; one that is not packed stays as it is.

    Raises PackingError, also for one of more than `most` bytes: no more are unpacked.
    """
    if not payload.startswith(_FIRST):
        return payload
    unpacking = zlib.decompressobj(zdict=_DICTIONARY)
    try:
        plain = unpacking.decompress(payload, most + 1)
    except zlib.error as error:
        raise PackingError(f"a packed message that is damaged: {error}") from error
    if len(plain) > most or not unpacking.eof or unpacking.unused_data:
        raise PackingError(f"a packed message of more than {most} bytes, or without its end")
    return plain
