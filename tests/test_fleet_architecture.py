"""Rules about the imports of the fleet that import-linter cannot express."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

# All that the fleet may import of the cabinet: words, pure parts, pages over ports, and helpers that know no cabinet.
FLEET_KNOWS = (
    "cabinet.billing", "cabinet.clock", "cabinet.config.check", "cabinet.config.reference", "cabinet.errors",
    "cabinet.model",
    "cabinet.normal_form", "cabinet.pin_codes", "cabinet.plain_text", "cabinet.records", "cabinet.reports",
    "cabinet.secret_hash", "cabinet.sections", "cabinet.service.charges.pricing",
    "cabinet.service.ports", "cabinet.service.property_ports", "cabinet.service.property_views",
    "cabinet.sub_commands", "cabinet.system.atomic_file", "cabinet.system.file_output", "cabinet.system.sd_notify",
    "cabinet.system.secret_files", "cabinet.texts", "cabinet.trips.format", "cabinet.uplink.anchors",
    "cabinet.uplink.messages",
    "cabinet.uplink.mqtt_client", "cabinet.uplink.orders", "cabinet.usage_chain", "cabinet.web",
)  # fmt: skip
ONLY_THE_FLEET = ("fleet", "psycopg", "psycopg_pool", "cryptography")  # installed on no cabinet


def imports(package: str) -> Iterator[tuple[str, str]]:
    """Yield each file of a package with the full name of each thing that it imports, inside functions too."""
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield str(file.relative_to(ROOT)), f"{node.module}.{alias.name}"
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield str(file.relative_to(ROOT)), alias.name


def inside(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_the_cabinet_imports_neither_the_fleet_nor_what_only_the_fleet_is_installed_with():
    found = list(imports("cabinet"))
    assert len(found) > 1000
    assert [(file, name) for file, name in found if inside(name, ONLY_THE_FLEET)] == []


def test_the_fleet_imports_only_words_pure_parts_and_pages_of_the_cabinet():
    found = [(file, name) for file, name in imports("fleet") if inside(name, ("cabinet",))]
    assert len(found) > 100
    whole = ("cabinet.__version__",)
    assert [(file, name) for file, name in found if not inside(name, FLEET_KNOWS) and name not in whole] == []
