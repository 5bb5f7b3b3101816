"""F93: a command is the same whether the others are there or not, and starts without them."""

import subprocess
import sys

import pytest

from segduet.cli.program import COMMANDS, program

NAMES = [name for names in COMMANDS.values() for name in names]
WHOLE = program()


def test_the_table_names_every_command_in_the_order_of_the_help() -> None:
    assert sorted(NAMES) == sorted(WHOLE.commands)
    for module, names in COMMANDS.items():
        assert all(program(name).commands.keys() == {name} for name in names), module


@pytest.mark.parametrize("name", NAMES)
def test_alone_a_command_has_the_same_options(name: str) -> None:
    alone, among_others = program(name).commands[name], WHOLE.commands[name]
    assert [p.opts for p in alone.params] == [p.opts for p in among_others.params]
    assert alone.help == among_others.help


@pytest.mark.parametrize("word", ["no-such-command", "--help", None])
def test_what_is_no_command_gets_all_of_them(word: str | None) -> None:
    assert program(word).commands.keys() == WHOLE.commands.keys()


def test_predict_does_not_load_other_commands() -> None:
    code = (
        "import sys\nfrom segduet.cli.program import program\nprogram('predict')\n"
        "print([m for m in sys.modules if m in ('segduet.cli.data', 'segduet.cli.patients')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_start_is_not_searched_for_dead_cycles_all_the_time() -> None:
    """What a start makes stays: 700 new objects between two searches are Python's, 20,000 ours."""
    code = (
        "import gc\nfrom segduet.cli.main import main\nbefore = gc.get_stats()[0]['collections']\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n"
        "    print(gc.get_stats()[0]['collections'] - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) < 20
