"""F60: `segduet tune` with a program in the trainings' place whose score is known."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from segduet.core.errors import SegduetError
from segduet.core.files import read_json
from segduet.workflows.tuning import TuneRequest, tune
from tiny_studies import write_study

_SPACE = {"optimizer.learning_rate": {"low": 0.001, "high": 0.1, "log": True}}
_SEARCH = {"space": _SPACE, "trials": 3, "objectives": ["dsc", "seconds_per_case"]}

#: Trains in no time: DSC is 1 - |rate - 0.05|, seconds are 100 times the rate; a rate above 0.09
#: diverges. One line of metrics per epoch; a `hold` file beside the data makes it wait after those.
_TRAINING = """
import json, sys, time
from pathlib import Path
words = sys.argv[1:]
if words[0] == "predict":
    out = Path(words[words.index("--out") + 1])
    out.mkdir(parents=True, exist_ok=True)
    rate = float((Path(words[1]) / "fold_0" / "model.safetensors").read_text())
    rows = f"case,status,seconds\\na,ok,{100 * rate}\\nb,failed,0\\n"
    (out / "predictions.csv").write_text(rows)
    (out / "manifest.json").write_text("{}")
    sys.exit()
after = lambda option: words[words.index(option) + 1]
sets = dict(w.split("=", 1) for o, w in zip(words, words[1:]) if o == "--set")
rate = float(sets["optimizer.learning_rate"])
root = Path(after("--data-root"))
run = root / "nnUNet_results" / words[1]
run /= f"{after('--name')}__{after('--plans')}__{after('--configuration')}"
run /= f"fold_{after('--fold')}"
run.mkdir(parents=True, exist_ok=True)
with (root / "calls.txt").open("a") as calls:
    calls.write(" ".join([after("--name"), after("--fold"), str(rate)]) + "\\n")
if rate > 0.09:
    print("error: the loss is not finite"); sys.exit(1)
dsc = 1 - abs(rate - 0.05)
lines = [json.dumps({"epoch": e, "validation": {"patch_dice": dsc}}) for e in range(3)]
(run / "metrics.jsonl").write_text("\\n".join(lines) + "\\n")
while (root / "hold").exists() and rate < 0.03:
    time.sleep(0.02)
(run / "validation").mkdir(exist_ok=True)
summary = {"schema_version": 1, "n_cases": 1}
summary["classification"] = {"kind": {"macro_f1": {"value": None}}}
summary["segmentation"] = {"mean_foreground": {"dsc": {"mean": dsc}}}
(run / "validation" / "summary.json").write_text(json.dumps(summary))
for name in ("model.safetensors", "manifest.json"):
    (run / name).write_text(str(rate))
"""


def _request(folder: Path, **study: Any) -> TuneRequest:
    program = folder / "training.py"
    program.write_text(_TRAINING)
    (folder / "images").mkdir(exist_ok=True)
    settings = {"search": _SEARCH, "predict": {"inputs": "images"}, **study}
    return TuneRequest(
        study=write_study(folder, **settings), launcher=(sys.executable, "-I", str(program))
    )


def _calls(folder: Path) -> list[str]:
    return (folder / "segduet-data" / "calls.txt").read_text().splitlines()


def _choices(*rates: float, **more: Any) -> dict[str, Any]:
    space = {"optimizer.learning_rate": {"choices": list(rates)}}
    return {"search": {**_SEARCH, "sampler": "grid", "space": space, "trials": 9, **more}}


def test_a_search_keeps_every_trial_and_names_those_not_beaten(tmp_path: Path) -> None:
    study = _choices(0.02, 0.05, 0.08, 0.095)
    outcome = tune(_request(tmp_path, folds=[0, 2], **study)).outcome
    values = {t["changes"]["optimizer.learning_rate"]: t["values"] for t in outcome["trials"]}
    assert values[0.02] == {"dsc": pytest.approx(0.97), "seconds_per_case": pytest.approx(2)}
    assert values[0.05] == {"dsc": pytest.approx(1), "seconds_per_case": pytest.approx(5)}
    assert values[0.095] == {}
    assert outcome["front"] == [0, 1]  # 0.08 is as bad as 0.02 and slower
    assert outcome["counts"] == {"complete": 3, "pruned": 0, "failed": 1}
    assert outcome["selected_from"] == 3
    assert outcome["trials"][3]["reason"] == "the loss is not finite"
    assert len(_calls(tmp_path)) == 3 * 2 + 1  # the failed trial's second fold was not begun
    text = (tmp_path / "tiny" / "tuning.md").read_text()
    assert "Chosen from 3 candidates" in text
    assert "| 3 | failed | 0.095 | - | - | the loss is not finite |" in text
    assert read_json(tmp_path / "tiny" / "tuning.json") == json.loads(json.dumps(outcome))


def test_a_trial_far_behind_is_ended_early_and_only_then(tmp_path: Path) -> None:
    pruner = {"after_epochs": 2, "after_trials": 2}
    study = _choices(0.05, 0.06, 0.01, pruner=pruner)  # the last would wait for ever
    request = _request(tmp_path, **study)
    (tmp_path / "segduet-data" / "hold").touch()
    outcome = tune(request).outcome
    assert [t["state"] for t in outcome["trials"]] == ["complete", "complete", "pruned"]
    assert outcome["trials"][2]["epochs_watched"] == 3
    assert outcome["selected_from"] == 3


def test_a_search_that_is_done_trains_nothing_again(tmp_path: Path) -> None:
    request = _request(tmp_path)
    first = tune(request).outcome
    assert len(_calls(tmp_path)) == 3
    assert tune(request).outcome == first
    assert len(_calls(tmp_path)) == 3


_KILLED = """
import sys
from pathlib import Path
from segduet.workflows.tuning import TuneRequest, tune
tune(TuneRequest(study=Path(sys.argv[1]), launcher=tuple(sys.argv[2:])))
"""


def _wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_search_that_is_killed_goes_on_with_the_trial_it_was_in(tmp_path: Path) -> None:
    request = _request(tmp_path, **_choices(0.05, 0.01, 0.02))
    hold = tmp_path / "segduet-data" / "hold"
    hold.touch()
    command = [sys.executable, "-c", _KILLED, str(request.study), *request.launcher]
    calls = tmp_path / "segduet-data" / "calls.txt"
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            _wait_until(lambda: calls.exists() and len(_calls(tmp_path)) == 2)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    hold.unlink()
    outcome = tune(request).outcome
    assert [t["changes"]["optimizer.learning_rate"] for t in outcome["trials"]] == [
        0.05,
        0.01,
        0.02,
    ]
    assert outcome["counts"]["complete"] == 3
    assert [line.split()[0] for line in _calls(tmp_path)] == [
        *("tiny-t0000-default-s0", "tiny-t0001-default-s0"),
        *("tiny-t0001-default-s0", "tiny-t0002-default-s0"),
    ]


def test_trials_run_side_by_side(tmp_path: Path) -> None:
    """Both wait for the file to go, which goes when both have begun."""
    request = _request(tmp_path, **_choices(0.01, 0.02))
    request = TuneRequest(study=request.study, jobs=2, launcher=request.launcher)
    hold = tmp_path / "segduet-data" / "hold"
    hold.touch()
    calls = tmp_path / "segduet-data" / "calls.txt"

    def release() -> None:
        _wait_until(lambda: calls.exists() and len(_calls(tmp_path)) == 2)
        hold.unlink()

    shares = list[float]()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(release)
        outcome = tune(request, lambda _, share: shares.append(share)).outcome
    assert outcome["counts"]["complete"] == 2
    assert shares == [0.5, 1.0]


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"search": None}, "no `search`"),
        ({"search": {**_SEARCH, "tries": 3}}, "search.tries.*unknown key.*perhaps search.trials"),
        (
            {"search": {**_SEARCH, "space": {"optimizer.learning_rat": {"low": 1, "high": 2}}}},
            "optimizer.learning_rat.*unknown key.*optimizer.learning_rate",
        ),
        ({"search": {**_SEARCH, "space": {"epochs": {"low": -1, "high": 2}}}}, "epochs"),
        ({"recipes": ["default", "demo"]}, "several recipes"),
        ({"predict": None}, "seconds_per_case without `predict`"),
        ({"folds": ["all"]}, "fold all"),
        ({"set": {"validation.final": False}}, "validation.final false"),
        (
            {"search": {**_SEARCH, "pruner": {"watch": "joint_score"}}},
            "validation.full_cases_every above 0",
        ),
    ],
)
def test_a_search_that_cannot_be_run_is_refused_at_once(
    tmp_path: Path, study: dict[str, Any], message: str
) -> None:
    with pytest.raises(SegduetError, match=message) as error:
        tune(_request(tmp_path, **study))
    assert error.value.exit_code == 2
    assert not (tmp_path / "tiny").exists()


def test_an_objective_that_was_not_measured_fails_the_trial_by_name(tmp_path: Path) -> None:
    outcome = tune(_request(tmp_path, search={**_SEARCH, "objectives": ["macro_f1"], "trials": 1}))
    (trial,) = outcome.outcome["trials"]
    assert trial["state"] == "failed"
    assert "objective macro_f1" in trial["reason"]
