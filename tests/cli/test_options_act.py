"""F93: an option changes what is asked for, in the one respect that it names."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from segduet.core.errors import RequestError
from tiny_studies import write_study

Asked = Callable[..., dict[str, Any]]

#: Command with all it needs -> the function that it calls.
CALLED = {
    ("ablate", "S.yaml"): "ablation.ablate",
    ("bench", "M", "I"): "benchmarking.benchmark",
    ("calibrate", "learn", "M", "--out", "c.json"): "calibrating.learn_calibration",
    ("calibrate", "check", "--reference", "d", "--predictions", "p", "--out", "c.json"): (
        "calibration_check.check_calibration"
    ),
    ("cleanup", "learn", "M", "--out", "c.json"): "cleanup_learning.learn_cleanup",
    ("compare", "A", "B", "--out", "o"): "comparison.compare",
    ("demo",): "demo.demo",
    ("document", "R", "--out", "o"): "documenting.document",
    ("evaluate", "--reference", "d", "--predictions", "p", "--out", "o"): "evaluation.evaluate",
    ("export", "M", "--to", "bundle", "--out", "o"): "exporting.export",
    ("gate", "M", "N", "--cases", "d", "--out", "o"): "gating.gate",
    ("import", "table", "S", "--name", "t"): "importing.import_dataset",
    ("package", "quiz", "P", "--images", "i"): "packaging.write_quiz_package",
    ("patients", "d", "--predictions", "p", "--out", "o"): "patient_answers.answer_patients",
    ("plan", "d"): "preparing.plan",
    ("predict", "M", "I", "--out", "o"): "prediction.predict",
    ("preprocess", "d"): "preparing.preprocess",
    ("run", "S.yaml"): "studies.run_study",
    ("submit", "ray", "S.yaml"): "submitting.run_study_on_ray",
    ("train", "d"): "training.train",
    ("tune", "S.yaml"): "tuning.tune",
}


def command_of(words: Sequence[str]) -> tuple[str, ...]:
    """The command with all it needs that begins with these words."""
    (found,) = [command for command in CALLED if command[: len(words)] == tuple(words)]
    return found


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value of a request, by its path: `loading.step`."""
    if dataclasses.is_dataclass(value):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    elif hasattr(value, "model_dump"):
        value = value.model_dump()
    if not isinstance(value, Mapping):
        yield path, value
        return
    for name, part in value.items():
        yield from leaves(part, f"{path}.{name}".lstrip("."))


@pytest.fixture
def asked(segduet: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Asked:
    """`asked(command, *options)`: what the command asks for, by the names of its fields."""

    def of(command: tuple[str, ...], *options: object) -> dict[str, Any]:
        noted: list[Any] = []

        def note(*arguments: Any, **named: Any) -> None:
            noted.append({**dict(enumerate(arguments)), **named})
            raise RequestError("noted", found="a request", expected="one", remedy="Go on.")

        monkeypatch.setattr(f"segduet.workflows.{CALLED[command]}", note)
        finished = segduet(*command, *options)
        assert "error: noted: " in finished.err, finished.err
        (request,) = noted
        return {path: value for path, value in leaves(request) if not callable(value)}

    return of


@pytest.mark.parametrize(
    ("command", "options", "field", "value"),
    [
        ("ablate", ("--jobs", 3), "jobs", 3),
        ("ablate", ("--retry-failed",), "retry_failed", True),
        ("ablate", ("--seed", 7), "seed", 7),
        ("bench", ("--seed", 7), "seed", 7),
        ("bench", ("--out", "there"), "out", Path("there")),
        ("calibrate learn", ("--seed", 7), "settings.seed", 7),
        ("calibrate learn", ("--workers", 3), "workers", 3),
        ("calibrate check", ("--seed", 7), "seed", 7),
        ("cleanup learn", ("--seed", 7), "seed", 7),
        ("cleanup learn", ("--workers", 3), "workers", 3),
        ("compare", ("--seed", 7), "seed", 7),
        ("demo", ("--seed", 7), "seed", 7),
        ("demo", ("--ultrasound",), "is_ultrasound", True),
        ("evaluate", ("--seed", 7), "seed", 7),
        ("evaluate", ("--nsd-tolerance-mm", 5), "nsd_tolerance_mm", 5.0),
        ("evaluate", ("--workers", 3), "workers", 3),
        ("evaluate", ("--fold", 2), "fold", "2"),
        ("evaluate", ("--overlap-only",), "overlap_only", True),
        ("evaluate", ("--targets", "pancreas"), "targets", "pancreas"),
        ("export", ("--folds", "0, 2"), "folds", ["0", "2"]),
        ("gate", ("--min-agreement", 0.5), "bounds.min_agreement", 0.5),
        ("import", ("--labels-table", "t.csv"), "labels_table", Path("t.csv")),
        ("import", ("--regions", "nested"), "region_mode", "nested"),
        ("import", ("--task", "grade:ordinal:low,high"), "tasks", ("grade:ordinal:low,high",)),
        ("import", ("--workers", 3), "workers", 3),
        ("package quiz", ("--task", "stage"), "3", "stage"),
        ("patients", ("--fit-masks", "reference"), "fit_masks", "reference"),
        ("patients", ("--folds", 3), "settings.num_folds", 3),
        ("patients", ("--intensity",), "with_intensity", True),
        ("patients", ("--selected-from", 4), "selected_from", 4),
        ("patients", ("--seed", 7), "settings.seed", 7),
        ("plan", ("--memory-gb", 4), "memory_gb", 4.0),
        ("plan", ("--seed", 7), "seed", 7),
        ("plan", ("--workers", 3), "workers", 3),
        ("predict", ("--aggregation", "mean"), "loading.aggregation", "mean"),
        ("predict", ("--threads", 3), "loading.threads", 3),
        ("predict", ("--tta",), "loading.mirrored", True),
        ("predict", ("--device", "cuda:1"), "loading.device", "cuda:1"),
        ("predict", ("--folds", "0,2"), "loading.folds", ["0", "2"]),
        ("preprocess", ("--plans", "mine"), "plans", "mine"),
        ("preprocess", ("--configuration", "2d"), "2", "2d"),
        ("preprocess", ("--workers", 3), "workers", 3),
        ("run", ("--jobs", 3), "jobs", 3),
        ("run", ("--retry-failed",), "retry_failed", True),
        ("submit ray", ("--num-cpus", 3), "cluster.num_cpus", 3),
        ("submit ray", ("--address", "auto"), "cluster.address", "auto"),
        ("submit ray", ("--retry-failed",), "retry_failed", True),
        ("train", ("--configuration", "2d"), "configuration", "2d"),
        ("train", ("--plans", "mine"), "plans", "mine"),
        ("train", ("--workers", 3), "workers", 3),
        ("tune", ("--jobs", 3), "jobs", 3),
    ],
)
def test_an_option_changes_one_thing(
    asked: Asked, command: str, options: tuple[object, ...], field: str, value: object
) -> None:
    whole = command_of(command.split())
    off, on = asked(whole), asked(whole, *options)
    changed = {path: new for path, new in on.items() if path not in off or off[path] != new}
    (path,) = changed
    assert path == field or path.endswith(f".{field}")
    assert changed[path] == value


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ((), {"cluster": None}),
        (("--ray",), {"cluster.address": None, "cluster.num_cpus": None}),
        (("--ray", "--num-cpus", 3), {"cluster.address": None, "cluster.num_cpus": 3}),
    ],
)
def test_a_search_asks_for_a_cluster(
    asked: Asked, options: tuple[object, ...], changed: dict[str, object]
) -> None:
    request = asked(command_of(["tune"]), *options)
    assert {p.partition(".")[2]: v for p, v in request.items() if "cluster" in p} == changed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("patients", "d", "--predictions", "p", "--fit-split", "val"), "--fit-split without"),
        (("tune", "S.yaml", "--num-cpus", 2), "--num-cpus without --ray"),
        (("predict", "M", "I", "--worker-gpus", 1), "--worker-gpus without --ray-workers"),
        (("cleanup", "apply", "P", "--workers", 2), "--workers with apply"),
        (("calibrate", "learn", "M", "--predictions", "p"), "--predictions with learn"),
        (("package", "check", "A", "--images", "i", "--out", "o"), "--out with check"),
        (("package", "check", "A", "--images", "i", "--task", "t"), "--task with check"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    segduet: Callable[..., Any],
    refused: Callable[..., str],
    tmp_path: Path,
    arguments: tuple[object, ...],
    words: str,
) -> None:
    out = () if arguments[0] in ("tune", "package") else ("--out", tmp_path / "out")
    refused(segduet(*arguments, *out), words, "an option that has an effect")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
@pytest.mark.parametrize(
    "command",
    [
        *("ablate", "bench", "calibrate learn", "calibrate check", "cleanup learn"),
        *("compare", "demo", "evaluate", "patients", "plan"),
    ],
)
def test_a_seed_that_no_generator_takes_is_refused(
    segduet: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    seed: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    finished = segduet(*command_of(command.split()), "--seed", seed)
    assert finished.code == 2
    assert "Invalid value for '--seed'" in finished.err
    assert list(tmp_path.iterdir()) == []


def test_a_demonstration_does_not_replace_a_file(
    segduet: Callable[..., Any], refused: Callable[..., str], tmp_path: Path
) -> None:
    target = tmp_path / "notes"
    target.write_text("mine")
    refused(segduet("demo", "--out", target), str(target), "a new folder")
    assert target.read_text() == "mine"


# what the options of `import` make of a dataset --------------------------------------------------


def imported(segduet: Callable[..., Any], table: Path, data: Path, *options: object) -> Any:
    arguments = ("--name", "Dataset501_tiny", "--data-root", data, "--workers", 1)
    finished = segduet("import", "table", table, *arguments, *options)
    assert finished.code == 0, finished.err
    return data / "nnUNet_raw" / "Dataset501_tiny"


def test_names_of_channels_labels_and_classes_are_those_that_were_asked_for(
    table_folder: Path, tmp_path: Path, segduet: Callable[..., Any]
) -> None:
    """CT decides how nnU-Net normalises, the order of the classes what index they have."""
    table = table_folder / "cases.csv"
    table.write_text(table.read_text().replace("class", "kind", 1))
    options = (
        *("--channels", "CT", "--class-column", "kind", "--classes", "dark,bright"),
        *("--label-names", "blob", "--label-values", "1", "--regions", "plain"),
    )
    raw = imported(segduet, table_folder, tmp_path / "on", *options)
    described = json.loads((raw / "dataset.json").read_text())
    assert described["channel_names"] == {"0": "CT"}
    assert described["labels"] == {"background": 0, "blob": 1}
    (task,) = described["segduet"]["tasks"]
    assert (task["name"], task["classes"]) == ("kind", ["dark", "bright"])


# what the options of `submit` make of job files --------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "options", "file", "text"),
    [
        ("slurm", ("--account", "lab7"), "level-0-0.sbatch", "#SBATCH --account=lab7"),
        ("slurm", ("--partition", "gpu"), "level-0-0.sbatch", "#SBATCH --partition=gpu"),
        ("kubernetes", ("--namespace", "lab7"), "level-0.yaml", "namespace: lab7"),
        ("polyaxon-0.5", ("--concurrency", 2), "group-0-0.yaml", "concurrency: 2"),
    ],
)
def test_an_option_stands_in_the_job_files(
    *,
    engine: str,
    options: tuple[object, ...],
    file: str,
    text: str,
    segduet: Callable[..., Any],
    tmp_path: Path,
) -> None:
    study = write_study(tmp_path, folds=[0, 1])
    image = () if engine == "slurm" else ("--image", "lab/segduet:1")
    written = {}
    for name, more in (("off", ()), ("on", options)):
        finished = segduet("submit", engine, study, "--out", tmp_path / name, *image, *more)
        assert finished.code == 0, finished.err
        written[name] = (tmp_path / name / file).read_text()
    assert text not in written["off"]
    assert text in written["on"]
    if file.endswith(".yaml"):
        assert list(yaml.safe_load_all(written["on"]))
