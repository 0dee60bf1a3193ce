"""Check if the system itself uses a serial port: for its login prompt (getty) or for kernel messages.

If two programs read one port, each gets half of the input; and a login prompt is an access to the machine that the
console does not control. The console therefore does not open the port; it reports the holder and the remedy.
"""

import os
from pathlib import Path

GETTYS = ("agetty", "getty", "mingetty", "login")


def held_by(device: str, root: Path = Path("/")) -> str | None:
    """Return one line: the holder of `device` and how to free it; None if none is found. `root` is for tests."""
    name = os.path.basename(os.path.realpath(device))
    if name in _words(root / "sys/class/tty/console/active"):
        return (
            f"{device}: the kernel's own console is on {name}: take console={name} (or console=serial0) out of the "
            "kernel's command line (/boot/firmware/cmdline.txt) and restart the machine"
        )
    units = root / "run/systemd/units"
    for unit in (f"serial-getty@{name}.service", f"getty@{name}.service"):
        if (units / f"invocation:{unit}").is_symlink():
            return f"{device}: the system's login prompt is on {name}: systemctl disable --now {unit}"
    if (getty := _getty_on(name, root / "proc")) is not None:
        return f"{device}: {getty} has the system's login prompt on {name}: stop it and keep it from starting again"
    return None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").split()
    except OSError:
        return []


def _getty_on(name: str, proc: Path) -> str | None:
    """Return the login program that runs on the port; None if there is none or other processes are not visible."""
    try:
        folders = [folder for folder in proc.iterdir() if folder.name.isdigit()]
    except OSError:
        return None
    for folder in folders:
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        program = os.path.basename(words[0])
        if program in GETTYS and any(word in (name, f"/dev/{name}") for word in words[1:]):
            return f"{program} (process {folder.name})"
    return None
