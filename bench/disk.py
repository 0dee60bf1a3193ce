"""Counters of the kernel for a block device."""

import os
from pathlib import Path


def device_bytes(folder: Path) -> int:
    """Return the bytes written to the block device of `folder` since boot (sysfs `stat`, field 7, 512-byte sectors)."""
    device = os.stat(folder).st_dev
    fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text(encoding="ascii").split()
    return int(fields[6]) * 512
