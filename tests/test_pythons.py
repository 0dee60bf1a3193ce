"""Rules that keep the source running on Python 3.11 to 3.14, also those that only another version would break."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_annotation_names_a_field_of_its_own_class():
    """Python 3.14 evaluates it when the class has its fields, and would get the field."""
    found = []
    for file in sorted((ROOT / "cabinet").rglob("*.py")):
        for owner in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(owner, ast.ClassDef):
                fields = [each for each in owner.body if isinstance(each, ast.AnnAssign)]
                names = {field.target.id for field in fields if isinstance(field.target, ast.Name)}
                used = {
                    node.id for field in fields for node in ast.walk(field.annotation) if isinstance(node, ast.Name)
                }
                found += [f"{file.relative_to(ROOT)}: {owner.name}: {name}" for name in sorted(names & used)]
    assert found == []
