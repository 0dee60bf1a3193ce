"""A callback of ctypes under MemoryDenyWriteExecute: libffi must not need memory that is written and executed."""

import ctypes
import mmap
import sys


def main() -> None:
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except PermissionError:
        answer = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 42)()
        sys.exit(0 if answer == 42 else f"the callback returned {answer}")
    sys.exit("memory can be written and executed")


if __name__ == "__main__":
    main()
