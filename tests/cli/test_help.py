"""Help texts: every option says in a sentence of its own what it is."""

import click
import pytest

from evsim.cli.main import main

OPTIONS = [
    pytest.param(option, id=f"{name} {option.opts[0]}")
    for name, command in main.commands.items()
    for option in command.params
    if isinstance(option, click.Option)
]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_reads_by_itself(option):
    text = option.help or ""
    assert text.endswith("."), text
    assert text[0].isupper() or option.name == "dataset", text
    assert len(text.split()) > 1 and not text.startswith(("Of ", "As ", "> ", "Also ")), text


@pytest.mark.parametrize("command", main.commands.values(), ids=main.commands)
def test_every_command_says_what_it_does(command):
    assert command.help and command.help[0].isupper() and ("." in command.help)
