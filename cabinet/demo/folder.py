"""The folder of a demonstration, and its configuration: made once, then its owner may change it."""

import os
import re
import socket
from importlib import resources
from pathlib import Path

from cabinet.errors import CabinetError, ConfigError
from cabinet.system import run_folder
from cabinet.system.atomic_file import replace_content, write_file

MAX_SOCKET_PATH = 107  # unix(7): 108 bytes with the terminating zero

HEADING = """\
# Written by `cabinet run` when it was first started here; yours to change, it is not written again
# (only `cabinet run --port` puts another port into it).
"""


def prepare(folder: Path, port: int | None) -> Path:
    """Return the configuration in `folder`, copied from the packaged example at first. `port` replaces its web port."""
    folder = folder.absolute()
    run = folder / "run"
    if len(os.fsencode(run / run_folder.MAX_SOCKET_NAME)) > MAX_SOCKET_PATH:
        raise ConfigError("paths.run", f"{run} is too long a path for sockets: give a shorter folder with --state")
    path = folder / "cabinet.toml"
    try:
        run.mkdir(parents=True, exist_ok=True)
        before = path.read_bytes() if path.exists() else None
        text = _first_configuration(folder) if before is None else before.decode()
        if port is not None:
            text = with_port(text, port)
        if before is None:
            write_file(path, text.encode())
        elif text.encode() != before:
            replace_content(path, text.encode())
    except UnicodeDecodeError as error:
        raise CabinetError(f"{path}: is no UTF-8 text") from error
    except OSError as error:
        raise CabinetError(f"{folder}: cannot be used for the demonstration ({error.strerror})") from error
    return path


def _first_configuration(folder: Path) -> str:
    example = resources.files("cabinet.examples").joinpath("demo.toml").read_text(encoding="utf-8")
    paths = f'[paths]\nstate = "{_quoted(folder / "state")}"\nrun = "{_quoted(folder / "run")}"\n'
    return f"{HEADING}{example.rstrip()}\n\n[service]\nport = 8080\n\n{paths}"


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def with_port(text: str, port: int) -> str:
    """Return `text` with another `service.port`; `site.public_url` follows if it points at this machine."""
    text = re.sub(r'^(public_url = "http://(?:127\.0\.0\.1|localhost)):\d+"', rf'\g<1>:{port}"', text, flags=re.M)
    section = re.compile(r"^(\[service\]\r?\n(?:(?!\[).*\n)*?)port = \d+", flags=re.M)
    if section.search(text):
        return section.sub(rf"\g<1>port = {port}", text, count=1)
    end = "\r\n" if "\r\n" in text else "\n"
    if re.search(r"^\[service\]\r?$", text, flags=re.M):
        return re.sub(r"^\[service\](\r?)$", rf"[service]{end}port = {port}\1", text, count=1, flags=re.M)
    separator = "" if text.endswith("\n") or not text else end
    return f"{text}{separator}{end}[service]{end}port = {port}{end}"


def check_port_is_free(host: str, port: int) -> None:
    """Raise CabinetError if another program listens there."""
    if port == 0:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CabinetError(
                f"port {port} of {host} cannot be had ({error.strerror}): stop what uses it, or cabinet run --port N"
            ) from error
