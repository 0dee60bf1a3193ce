"""Debian's archive of any release and architecture, apart from the packages of the host."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from vm.guests import CannotBuild, Guest


class Kernel(NamedTuple):
    """The newest kernel of a release: image, headers and source must have the same version."""

    release: str  # such as 6.1.0-57-arm64
    package_version: str

    @property
    def series(self) -> str:
        """Return its major and minor version, such as 6.1."""
        return ".".join(self.release.split(".")[:2])


class Archive:
    """apt with lists of its own; its signatures are checked with the host's keys."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._folder = guest.folder / "apt"
        state = self._folder
        options = {
            "APT::Architecture": guest.processor.arch,
            "APT::Architectures": f"{guest.processor.arch},{host_arch()}",
            "APT::Sandbox::User": "",
            "Dir::State": state,
            "Dir::State::status": state / "status",
            "Dir::Cache": state / "cache",
            "Dir::Etc::sourcelist": state / "sources.list",
            "Dir::Etc::sourceparts": "-",
        }
        self._options = [f"-o{name}={value}" for name, value in options.items()]

    def kernel(self) -> Kernel:
        """Return the newest kernel. It stays the same until the machine's folder is removed."""
        shown = self._apt("apt-cache", "show", "--no-all-versions", f"linux-image-{self._guest.processor.arch}")
        found = re.search(r"linux-image-(\S+) \(= (\S+)\)", shown)
        if found is None:
            raise CannotBuild(f"no kernel of {self._guest.title} in Debian's lists")
        return Kernel(found[1], found[2])

    def unpack(self, package: str, into: Path) -> Path:
        """Download a package, such as `name`, `name=version` or `name:architecture`, and unpack it. Return `into`."""
        folder = self._folder / "cache" / "archives"
        for old in folder.glob("*.deb"):
            old.unlink()
        self._apt("apt-get", "-qq", "download", package, cwd=folder)
        (file,) = folder.glob("*.deb")
        run("dpkg-deb", "--extract", file, into)
        file.unlink()
        return into

    def _apt(self, program: str, *words: str, cwd: Path | None = None) -> str:
        if not (self._folder / "status").exists():
            self._set_up()
        return run(program, *self._options, *words, cwd=cwd)

    def _set_up(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        for name in ("lists/partial", "cache/archives/partial"):
            (self._folder / name).mkdir(parents=True)
        lines = [f"deb {site} {suite} main\n" for site, suite in sources(self._guest.release.name)]
        (self._folder / "sources.list").write_text("".join(lines))
        (self._folder / "status").touch()
        try:
            run("apt-get", *self._options, "-qq", "update")
        except CannotBuild:
            (self._folder / "status").unlink()
            raise


def sources(release: str) -> list[tuple[str, str]]:
    """Return address and suite of the release, of its updates and of its security updates, in the host's archives."""
    here = min(release_names_of_host(), key=len)
    return list(dict.fromkeys((site, suite.replace(here, release)) for site, suite in _sources_of_host()))


def release_names_of_host() -> list[str]:
    """Return the suites that the host uses, such as bookworm and bookworm-updates."""
    return [suite for _, suite in _sources_of_host()]


def _sources_of_host() -> list[tuple[str, str]]:
    wanted = ["--format", "$(LABEL) $(SITE) $(RELEASE)", "Created-By: Packages", "Component: main"]
    found = [line.split() for line in run("apt-get", "indextargets", *wanted).splitlines()]
    debian = [(site, suite) for label, site, suite in found if label.startswith("Debian")]
    if not debian:
        raise CannotBuild("no list of Debian's packages is here: apt-get update")
    return debian


def host_arch() -> str:
    return run("dpkg", "--print-architecture").strip()


def run(*command: str | Path, cwd: Path | None = None) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise CannotBuild(
            f"{' '.join(map(str, command[:3]))}: exit status {done.returncode}: {done.stderr.strip()[-500:]}"
        )
    return done.stdout
