"""Mark the kernel's clock as synchronised, as a time daemon does after an answer of its server."""

import ctypes
import struct

ADJ_MAXERROR, ADJ_ESTERROR, ADJ_STATUS = 0x4, 0x8, 0x10  # adjtimex(2)
MAXERROR_AT, ESTERROR_AT, STATUS_AT = 24, 32, 40  # in struct timex, 64 bits


def main() -> None:
    timex = ctypes.create_string_buffer(256)
    struct.pack_into("<I", timex, 0, ADJ_MAXERROR | ADJ_ESTERROR | ADJ_STATUS)
    struct.pack_into("<q", timex, MAXERROR_AT, 1000)
    struct.pack_into("<q", timex, ESTERROR_AT, 1000)
    struct.pack_into("<i", timex, STATUS_AT, 0)  # without STA_UNSYNC
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(timex) != 0:
        raise SystemExit(f"adjtimex: errno {ctypes.get_errno()}")


if __name__ == "__main__":
    main()
