"""What the kernel has counted of a block device."""

import os
from pathlib import Path


def device_bytes(folder: Path) -> int:
    """Written to the block device under `folder` since boot (`stat` of sysfs, field 7, sectors of 512 bytes)."""
    device = os.stat(folder).st_dev
    fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text(encoding="ascii").split()
    return int(fields[6]) * 512
