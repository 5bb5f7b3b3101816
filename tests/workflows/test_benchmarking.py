"""F85, F86: the benchmark as a whole, with real processes, and what `segduet bench` says."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from segduet.evaluation.bench_record import BenchRecord, read_bench_record
from segduet.evaluation.output_agreement import OutputVerdict
from segduet.evaluation.paired_timing import ArmName, Finding
from segduet.workflows import benchmarking
from segduet.workflows.bench_arms import ArmKind, segduet_arm, stock_arm
from segduet.workflows.bench_outputs import Outputs, compare_outputs
from segduet.workflows.bench_session import BenchRequest, Session, staged_cases
from segduet.workflows.benchmarking import benchmark

CASE = "c0"


@dataclass(frozen=True, kw_only=True)
class SleepingArm:
    """Copies a prepared mask into the answers, after a sleep of known length."""

    seconds: float
    mask: Path
    kind: ArmKind = ArmKind.SEGDUET
    model: Path = Path("model")
    options: dict[str, str] = field(default_factory=dict)
    not_taken_over: tuple[str, ...] = ()
    cores: int | None = None

    def command(self, images: Path, out: Path) -> list[str]:
        code = f"import shutil, time; time.sleep({self.seconds}); " + (
            f"shutil.copy({str(self.mask)!r}, {str(out / (CASE + '.nii.gz'))!r})"
        )
        return [sys.executable, "-I", "-S", "-c", code]


def write_mask(path: Path, value: int) -> Path:
    SimpleITK.WriteImage(
        SimpleITK.GetImageFromArray(np.full((2, 4, 4), value, np.uint8)), str(path)
    )
    return path


def timed(
    candidate: SleepingArm,
    baseline: SleepingArm,
    *,
    road: Any,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> BenchRecord:
    arms = dict(zip(ArmName, (candidate, baseline), strict=True))
    monkeypatch.setattr(benchmarking, "bench_arms", lambda _request: arms)
    return benchmark(
        BenchRequest(
            model=road.model,
            inputs=[road.raw / "imagesTr"],
            out=out,
            rounds=6,
            measures=("cold",),
            max_cases=1,
        )
    )


def test_an_injected_sleep_is_found_and_everything_is_written(
    road: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F85: 0.4 s more, in real processes; a sleep is never shorter, whatever else runs."""
    mask = write_mask(tmp_path / "mask.nii.gz", 1)
    record = timed(
        SleepingArm(seconds=0.0, mask=mask),
        SleepingArm(seconds=0.4, mask=mask),
        road=road,
        out=tmp_path / "out",
        monkeypatch=monkeypatch,
    )
    cold = record.figures[0]
    assert record.verdict.finding is Finding.FASTER
    assert cold.baseline.value >= 0.4
    assert cold.ratio.ci95[0] > 1
    assert record.verdict.outputs == OutputVerdict.IDENTICAL
    assert len(record.samples) == 2 * (1 + 6)
    assert [s.round for s in record.samples[:2]] == [-1, -1]
    firsts = [s.arm for s in record.samples[2::2]]
    assert tuple(firsts) == record.design.order
    assert all(s.other_cpu_share is not None and s.peak_rss_mb < 60 for s in record.samples)
    assert read_bench_record(tmp_path / "out" / "bench.json") == record
    text = (tmp_path / "out" / "bench.md").read_text()
    assert all(sentence in text for sentence in record.verdict.sentences)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["command"] == "bench"


def test_the_same_command_twice_is_no_difference(
    road: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F85: its interval holds 1, give or take a tenth, as one of 20 intervals misses by design."""
    arm = SleepingArm(seconds=0.1, mask=write_mask(tmp_path / "mask.nii.gz", 1))
    record = timed(arm, arm, road=road, out=tmp_path / "out", monkeypatch=monkeypatch)
    low, high = record.figures[0].ratio.ci95
    assert low <= 1.1
    assert high >= 0.9
    assert record.verdict.outputs == OutputVerdict.IDENTICAL


def test_a_fast_arm_that_answers_otherwise_says_so(
    road: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = timed(
        SleepingArm(seconds=0.0, mask=write_mask(tmp_path / "a.nii.gz", 1)),
        SleepingArm(seconds=0.1, mask=write_mask(tmp_path / "b.nii.gz", 0)),
        road=road,
        out=tmp_path / "out",
        monkeypatch=monkeypatch,
    )
    assert record.verdict.outputs == OutputVerdict.DIFFERENT
    assert record.verdict.sentences[1].startswith("The outputs differ")


def test_the_command_shows_a_table_or_prints_the_record(
    road: Any, tmp_path: Path, segduet: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = SleepingArm(seconds=0.0, mask=write_mask(tmp_path / "mask.nii.gz", 1))
    monkeypatch.setattr(benchmarking, "bench_arms", lambda _request: dict.fromkeys(ArmName, arm))
    monkeypatch.setenv("COLUMNS", "200")
    told = ("--rounds", 5, "--warm-up", 0, "--measure", "cold", "--max-cases", 1)
    told += ("--out", tmp_path / "out")
    person = segduet("bench", road.model, road.raw / "imagesTr", *told)
    assert person.code == 0, person.err
    assert "cold: whole command" in person.out
    assert "The outputs are identical (cases compared: 1" in person.out
    machine = segduet("bench", road.model, road.raw / "imagesTr", *told, "--json")
    assert machine.json() == json.loads((tmp_path / "out" / "bench.json").read_text())
    assert machine.json()["design"]["measures"] == ["cold"]
    assert machine.err == ""


def session(road: Any, work: Path, **arms: Any) -> Any:
    """A benchmark of one case of the road that is measured sample by sample."""
    request = BenchRequest(
        model=road.model, inputs=[road.raw / "imagesTr"], out=work / "unused", passes=2
    )
    cases = benchmarking.find_case_inputs(
        road.raw / "imagesTr", num_channels=1, file_ending=".nii.gz"
    )
    work.mkdir()
    return Session(
        request=request,
        arms={ArmName(name): arm for name, arm in arms.items()},
        cases=staged_cases(cases[:2], work / "images", ".nii.gz"),
        ending=".nii.gz",
        work=work,
    )


@pytest.fixture(scope="module")
def real_samples(road: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict]:
    """One sample of each arm and measure: ours and stock nnU-Net's, from the same weights."""
    told = {"no-tta": "true", "device": "cpu"}
    made = session(
        road,
        tmp_path_factory.mktemp("bench") / "work",
        candidate=segduet_arm(road.model, {**told, "engine": "torch"}, where="--option"),
        baseline=stock_arm(road.model, told, {}, where="--baseline-option"),
    )
    keys = [(arm, measure) for arm in ArmName for measure in ("cold", "warm")]
    return made, {key: made._sample(0, *key) for key in keys}


def test_both_arms_are_timed_cold_and_warm_by_phases(real_samples: Any) -> None:
    """F85: load, prepare, network, restore, write; the first case and the steady state apart."""
    _, samples = real_samples
    for (_, measure), sample in samples.items():
        phases = sample.phases
        assert sample.wall_s > 0
        assert sample.peak_rss_mb > 100
        if measure == "cold":
            assert phases == {}
            continue
        parts = {f"steady_{p}" for p in ("prepare", "network", "restore", "write")}
        assert parts | {"load", "first_case", "steady_case"} <= set(phases)
        assert all(seconds > 0 for seconds in phases.values())
        assert sum(phases[p] for p in parts) == pytest.approx(phases["steady_case"], rel=0.2)
        assert phases["load"] + phases["first_case"] + 3 * phases["steady_case"] < 2 * sample.wall_s


def test_the_stock_baseline_has_the_same_masks_as_we_and_warm_as_cold(real_samples: Any) -> None:
    """F86: the same weights; one voxel in a thousand may differ, as nnU-Net adds up in fp16."""
    made, _ = real_samples
    found = made.agreement()
    assert set(found) == {"between arms", "candidate", "baseline"}
    assert {one.n for one in found.values()} == {2}
    assert found["between arms"].worst_equal_share >= 0.999
    assert found["between arms"].num_class_flips is None  # nnU-Net gives no class
    for arm in ("candidate", "baseline"):
        assert found[arm].verdict is OutputVerdict.IDENTICAL


def test_class_answers_of_two_segduet_arms_are_compared(road: Any, tmp_path: Path) -> None:
    """By hand: one answer turned round and its probability moved by 0.3."""
    changed = tmp_path / "changed"
    shutil.copytree(road.predictions, changed)
    table = (changed / "predictions.csv").read_text().splitlines()
    header, row = table[0].split(","), table[1].split(",")
    kind, chance = header.index("class"), header.index("class:dark")
    row[kind] = "dark" if row[kind] == "bright" else "bright"
    row[chance] = repr(float(row[chance]) - 0.3)
    (changed / "predictions.csv").write_text("\n".join([table[0], ",".join(row), *table[2:]]))
    cases = [f"c{i}" for i in range(8)]
    first, second = (Outputs(folder=f, ending=".nii.gz") for f in (road.predictions, changed))
    same = compare_outputs(first, first, cases, seed=0)
    other = compare_outputs(first, second, cases, seed=0)
    assert (same.verdict, same.num_class_flips) == (OutputVerdict.IDENTICAL, 0)
    assert (other.verdict, other.num_class_flips) == (OutputVerdict.DIFFERENT, 1)
    assert other.largest_number_difference == pytest.approx(0.3)
    assert other.worst_equal_share == 1.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rounds", 4), "--rounds 4: found too few"),
        (("--passes", 1), "--passes 1: found too few"),
        (("--warm-up", -1), "--warm-up -1: found too few"),
        (("--option", "stepp=1"), "--option stepp: found no such option"),
        (("--against", "nowhere"), "nowhere: found no such folder"),
    ],
)
def test_a_request_that_cannot_be_measured_is_refused(
    road: Any, tmp_path: Path, segduet: Callable, options: tuple[Any, ...], words: str
) -> None:
    out = tmp_path / "out"
    finished = segduet("bench", road.model, road.raw / "imagesTr", "--out", out, *options)
    assert finished.code == 2
    assert words in finished.err
    assert not out.exists()


def test_a_folder_without_cases_is_refused(road: Any, tmp_path: Path, segduet: Callable) -> None:
    (tmp_path / "empty").mkdir()
    finished = segduet("bench", road.model, tmp_path / "empty", "--out", tmp_path / "out")
    assert (finished.code, "none ending in .nii.gz" in finished.err) == (2, True)


def test_an_arm_that_fails_is_told_with_its_own_words(
    road: Any, tmp_path: Path, segduet: Callable
) -> None:
    """A broken image: what `segduet predict` says about the case is in the message."""
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    (images / "broken_0000.nii.gz").write_bytes(b"no image")
    told = ("--against", "same", "--option", "engine=torch", "--option", "device=cpu")
    finished = segduet("bench", road.model, images, "--out", out, *told, "--json")
    assert finished.code == 2
    assert "the candidate (cold)" in finished.err
    assert "exit code 2" in finished.err
    assert "failed: broken: " in finished.err
    assert finished.out == ""
    assert not out.exists()
