"""docs/console.md shows every command with what it really shows."""

import pytest

from cabinet.console.registry import COMMANDS
from cabinet_testing.console_examples import MARK, PAGE, examples


def test_every_command_is_in_the_document_with_its_real_output():
    """After a change: python -m cabinet_testing.console_examples"""
    written = PAGE.read_text(encoding="utf-8").partition(MARK)[2].strip()
    assert written == examples().strip()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_of_its_own(name):
    assert COMMANDS[name].example.split()[: len(name.split())] == name.split()
