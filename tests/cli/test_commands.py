"""F93, B23: the commands, their options, what they print and how they end."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segduet.cli.data import LabelRelation, Layout, PlannerName
from segduet.cli.packaging import PackageKind
from segduet.cli.predicting import AggregationRule
from segduet.cli.program import program
from segduet.core.errors import TrainingError
from segduet.dataset.importers.options import RegionMode
from segduet.dataset.importers.registry import IMPORTERS
from segduet.inference.aggregation import Aggregation
from segduet.nnunet.planners import PLANNERS

#: After a wanted change: `SEGDUET_UPDATE_GOLDEN=1 python -m pytest tests/cli -k options`, look at
#: the diff, and add a line to CHANGELOG.md.
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "cli-options.json"


def _commands(group: Any, prefix: str = "") -> dict[str, Any]:
    """Every command by what a user types; those of a group as `submit ray`."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= _commands(command, f"{prefix}{name} ") if inner else {prefix + name: command}
    return found


COMMANDS = _commands(program())
#: `package check` prints its own kind of answer and is tested apart.
OF_THE_ROAD = ("import", "check", "plan", "preprocess", "train", "predict", "evaluate", "report")


def options_of(command: Any) -> list[str]:
    """Every option name of a command, both forms, sorted."""
    flags = (name for p in command.params for name in (*p.opts, *p.secondary_opts))
    return sorted(name for name in flags if name.startswith("-"))


def plain(text: str) -> str:
    """Without the colours that typer adds on some machines, such as GitHub's."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def in_new_process(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`python -m segduet` as a user's shell would run it."""
    return subprocess.run(
        [sys.executable, "-m", "segduet", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("nnUNet_")},
    )


def test_commands_and_options_are_the_contract() -> None:
    """A name that scripts rely on does not change by accident."""
    now = {name: options_of(command) for name, command in sorted(COMMANDS.items())}
    if os.environ.get("SEGDUET_UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
        pytest.skip(f"wrote {GOLDEN}; look at the difference")
    assert now == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(
    segduet: Callable, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F93: what it does, and every option with a word about it."""
    monkeypatch.setenv("COLUMNS", "200")
    helped = segduet(*command.split(), "--help")
    assert helped.code == 0
    assert helped.err == ""
    text = plain(helped.out)
    first_sentence = COMMANDS[command].help.split(".")[0].split(";")[0]
    assert first_sentence in " ".join(text.replace("│", " ").split())
    assert all(name in text for name in options_of(COMMANDS[command]))
    assert all(p.help for p in COMMANDS[command].params if p.name != "help")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_speaks_json(command: str) -> None:
    """B23."""
    assert "--json" in options_of(COMMANDS[command])


def test_the_choices_offered_are_the_ones_there_are() -> None:
    """The command line names them itself, so that help needs no torch."""
    assert [str(v) for v in Layout] == list(IMPORTERS)
    assert [str(v) for v in PlannerName] == list(PLANNERS)
    assert [str(v) for v in AggregationRule] == [str(v) for v in Aggregation]
    assert [str(v) for v in LabelRelation] == [str(v) for v in RegionMode]
    assert [str(v) for v in PackageKind] == ["quiz", "check"]


@pytest.mark.parametrize("command", OF_THE_ROAD)
def test_json_is_all_that_goes_to_standard_output(road: Any, command: str) -> None:
    """B23: parsed as it stands; nothing on standard error either where all is well."""
    finished = road.finished[command]
    assert isinstance(finished.json(), dict)
    assert finished.err == ""


def test_a_person_gets_sentences_instead(segduet: Callable, road: Any, tmp_path: Path) -> None:
    """DSC, macro-F1 and both baselines in words; the same figures as in the JSON."""
    arguments = (
        *("--reference", "tiny", "--predictions", road.predictions, "--fold", 0),
        *("--out", tmp_path / "evaluation", "--data-root", road.data, "--workers", 1),
    )
    finished = segduet("evaluate", *arguments)
    figures = road.finished["evaluate"].json()
    dsc = figures["segmentation"]["label_1"]["dsc"]["mean"]
    f1 = figures["classification"]["class"]["macro_f1"]["value"]
    assert finished.code == 0
    assert finished.out.startswith("2 cases\n")
    assert f"DSC label_1: {dsc:.3f} (95 % interval" in finished.out
    assert f"macro-F1 class: {f1:.3f} (95 % interval" in finished.out
    assert "majority_class baseline class:" in finished.out
    assert "mask_volume baseline class:" in finished.out


def test_progress_goes_to_standard_error(segduet: Callable, road: Any, tmp_path: Path) -> None:
    """Plain lines where there is no terminal: the first, and the last at 100 %."""
    images = road.raw / "imagesTr"
    out = tmp_path / "out"
    finished = segduet("predict", road.model, images, "--out", out, "--no-tta", "--step", 1)
    assert finished.code == 0
    assert finished.err.splitlines()[0] == " 12% predict: c0"
    assert finished.err.splitlines()[-1] == "100% predict: c7"
    cases, engine = finished.out.splitlines()
    assert re.fullmatch(rf"8 cases in \d+ s, answers in {re.escape(str(out))}", cases)
    assert re.fullmatch(r"engine: \w+, \w+, fp32: .+\.", engine)


def test_no_command_at_all_shows_the_commands(segduet: Callable) -> None:
    finished = segduet()
    assert finished.code == 2
    listed = finished.out + finished.err
    assert all(command.partition(" ")[0] in listed for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("check",),
        ("check", "tiny", "--nonsense"),
        ("plan", "tiny", "--planner", "huge"),
        ("train", "tiny", "--epochs", "0"),
        ("predict", "model", "images", "--out", "out", "--precision", "fp12"),
        ("predict", "model", "images", "--out", "out", "--threads", "0"),
        ("import", "dicomx", ".", "--name", "x"),
    ],
)
def test_a_command_that_cannot_be_parsed_ends_with_2(
    segduet: Callable, arguments: tuple[str, ...]
) -> None:
    finished = segduet(*arguments)
    assert finished.code == 2
    assert "Usage: segduet" in plain(finished.err)
    assert finished.out == ""


def test_our_own_failure_ends_with_1(segduet: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise TrainingError(
            "step 7", found="a loss of nan", expected="a number", remedy="Lower the rate."
        )

    monkeypatch.setattr("segduet.workflows.training.train", fail)
    finished = segduet("train", "tiny")
    assert finished.code == 1
    assert (
        finished.err == "error: step 7: found a loss of nan; expected a number. Lower the rate.\n"
    )


def test_interrupting_ends_with_130_and_a_word(
    segduet: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is no failure: no traceback, and the code a shell expects."""

    def interrupt(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("segduet.workflows.checking.check", interrupt)
    finished = segduet("check", "tiny")
    assert finished.code == 130
    assert finished.err == "interrupted: what was finished is kept\n"
    assert finished.out == ""


def test_python_m_segduet_is_the_command() -> None:
    """The installation described, without torch or nnunetv2 being started."""
    code = (
        "import sys; sys.argv = ['segduet', 'info', '--json']\n"
        "import atexit; atexit.register(lambda: print(sorted({'torch', 'nnunetv2'} & "
        "set(sys.modules)), file=sys.stderr))\n"
        "import runpy; runpy.run_module('segduet', run_name='__main__')"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False
    )
    assert finished.returncode == 0
    assert json.loads(finished.stdout)["versions"]["segduet"]
    assert finished.stderr == "[]\n"


def test_a_users_mistake_shows_no_traceback(tmp_path: Path) -> None:
    """In a process of its own, where nothing hides what Python would print."""
    finished = in_new_process("check", "nowhere", folder=tmp_path)
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert len(finished.stderr.splitlines()) == 1
    assert finished.stderr.startswith("error: dataset 'nowhere': found 0 matching datasets")
    assert list(tmp_path.iterdir()) == []


def test_info_tells_a_models_record(segduet: Callable, road: Any) -> None:
    """F94: last epoch, losses and the full-case validation, without unpickling."""
    record = segduet("info", road.run, "--json").json()["fold_0"]
    assert record["last_epoch"]["epoch"] == 1
    assert set(record["last_epoch"]["train"]) == {"loss", "segmentation", "task:class"}
    assert record["validation"]["n_cases"] == 2
    assert segduet("info", road.model, "--json").json() == {"fold_0": record}
    told = segduet("info", road.model).out
    assert "2 of 2 epochs" in told
    dsc = record["validation"]["segmentation"]["mean_foreground"]["dsc"]["mean"]
    assert f"DSC mean_foreground: {dsc:.3f}" in told


def test_info_lists_the_recipes_and_the_folders(segduet: Callable, road: Any) -> None:
    """The remedy of an unknown recipe sends people here."""
    told = segduet("info", "--data-root", road.data, "--json").json()
    assert {"default", "demo"} <= set(told["recipes"])
    assert told["nnUNet_raw"] == str(road.data / "nnUNet_raw")
    assert told["training"] == "ready"


def test_check_exits_with_3_on_a_finding(segduet: Callable, road: Any, tmp_path: Path) -> None:
    """A table for a person, the same findings as JSON; a sound dataset ends with 0."""
    changed = road.copy(tmp_path / "road")
    (changed.raw / "labelsTr" / "c4.nii.gz").unlink()
    arguments = ("check", "tiny", "--data-root", changed.data, "--workers", 1)
    for_a_machine = segduet(*arguments, "--json")
    (finding,) = for_a_machine.json()["findings"]
    assert for_a_machine.code == 3
    assert (finding["case"], finding["severity"], finding["kind"]) == ("c4", "error", "files")
    for_a_person = segduet(*arguments)
    assert for_a_person.code == 3
    assert "no mask" in for_a_person.out
    assert "Dataset501_tiny: 1 errors, 0 warnings" in for_a_person.out
