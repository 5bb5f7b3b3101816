"""Issue 6: a prediction goes on where it stopped, whatever ended it."""

import json
import resource
from pathlib import Path

import pytest

from half_written import half_written
from segduet.core.errors import DataError, RequestError, StorageError
from segduet.inference.answers_file import AnswerRow
from segduet.inference.progress import FinishedCase, Progress
from segduet.inference.shards import ALL_CASES, Shard

IMAGES = ((1000, 17),)
MODEL = {"weights": {"fold_0": "abc"}, "step": 0.5}


def opened(
    folder: Path, *, resume: bool = True, shard: Shard = ALL_CASES, model: object = None
) -> Progress:
    return Progress(folder, model or MODEL, shard=shard, resume=resume)


def answered(case: str, **details: object) -> FinishedCase:
    row = AnswerRow(
        case=case, status="ok", seconds=0.125, labels={"t": "a"}, probabilities={"t": (0.1, 0.9)}
    )
    return FinishedCase.model_validate({"images": IMAGES, "row": row, **details})


def failed(case: str) -> FinishedCase:
    row = AnswerRow(case=case, status="failed", message="no such file")
    return FinishedCase(images=((-1, -1),), row=row)


def test_what_was_added_is_there_afterwards_to_the_last_digit(tmp_path: Path) -> None:
    third = 1 / 3
    told = answered("b", region={"box": [0, 1]}, features={"t": (third, 1e-30)})
    with opened(tmp_path / "new") as progress:
        progress.add(told)
        progress.add(failed("a"))
    with opened(tmp_path / "new") as progress:
        assert list(progress.finished(["a", "never", "b"])) == [failed("a"), told]
        assert [progress.is_ok(case, IMAGES) for case in ("a", "b", "never")] == [
            False,
            True,
            False,
        ]


def test_without_resume_everything_is_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path, shard=Shard(1, 2)) as progress:
        progress.add(answered("b"))
    with opened(tmp_path) as progress:
        progress.add(answered("a"))
    with opened(tmp_path, resume=False) as progress:
        assert not progress.is_ok("a", IMAGES)
    assert [path.name for path in tmp_path.iterdir()] == ["progress.jsonl"]


def test_a_failed_case_that_is_done_again_counts_once_and_as_done(tmp_path: Path) -> None:
    with opened(tmp_path) as progress:
        progress.add(failed("a"))
        progress.add(answered("a"))
        assert progress.is_ok("a", IMAGES)
    with opened(tmp_path) as progress:
        assert list(progress.finished(["a"])) == [answered("a")]


@pytest.mark.parametrize("num_bytes", [1, 10, 60])
def test_half_a_line_is_dropped_and_written_again(tmp_path: Path, num_bytes: int) -> None:
    """What a kill or a power cut leaves."""
    with opened(tmp_path) as progress:
        progress.add(answered("a"))
        progress.add(answered("b"))
    file = tmp_path / "progress.jsonl"
    file.write_bytes(file.read_bytes()[:-num_bytes])
    with opened(tmp_path) as progress:
        assert (progress.is_ok("a", IMAGES), progress.is_ok("b", IMAGES)) == (True, False)
        progress.add(answered("b"))
    with opened(tmp_path) as progress:
        assert [f.row.case for f in progress.finished("ab")] == ["a", "b"]


def test_a_first_line_that_was_cut_short_means_nothing_was_done(tmp_path: Path) -> None:
    (tmp_path / "progress.jsonl").write_text('{"weights": {"fo')
    with opened(tmp_path) as progress:
        progress.add(answered("a"))
    with opened(tmp_path) as progress:
        assert progress.is_ok("a", IMAGES)


def test_another_model_or_setting_is_refused_and_named(tmp_path: Path) -> None:
    with opened(tmp_path) as progress:
        progress.add(answered("a"))
    with pytest.raises(RequestError, match=r"step 0\.5, now 1.*leave --resume out"):
        opened(tmp_path, model={**MODEL, "step": 1})
    with opened(tmp_path) as progress:
        assert progress.is_ok("a", IMAGES), "the refusal changes nothing"


@pytest.mark.parametrize("line", ["[]", "not JSON", '{"row": {"case": "a"}}'])
def test_damage_in_the_middle_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "progress.jsonl").write_text(f"{json.dumps(MODEL)}\n{line}\n")
    with pytest.raises(DataError, match=r"progress\.jsonl, line 2"):
        opened(tmp_path)


def test_two_runs_cannot_write_one_file(tmp_path: Path) -> None:
    with (
        opened(tmp_path, resume=False),
        pytest.raises(RequestError, match=r"another prediction.*--out"),
    ):
        opened(tmp_path, resume=False)
    opened(tmp_path).__exit__(None, None, None)


def test_a_run_of_all_cases_takes_in_what_shards_have_done(tmp_path: Path) -> None:
    with opened(tmp_path, shard=Shard(1, 2)) as one, opened(tmp_path, shard=Shard(2, 2)) as two:
        one.add(answered("a"))
        two.add(answered("b"))
    with opened(tmp_path) as progress:
        assert [f.row.case for f in progress.finished(["b", "a"])] == ["b", "a"]


def test_a_full_disk_costs_one_case_and_no_half_line(tmp_path: Path) -> None:
    with opened(tmp_path) as progress:
        progress.add(answered("a"))
        size = (tmp_path / "progress.jsonl").stat().st_size
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5, before[1]))
        try:
            with pytest.raises(StorageError, match=r"progress\.jsonl"):
                progress.add(answered("b"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        progress.add(answered("c"))
    with opened(tmp_path) as progress:
        assert [progress.is_ok(case, IMAGES) for case in "abc"] == [True, False, True]


def test_other_images_under_the_same_name_are_not_done(tmp_path: Path) -> None:
    with opened(tmp_path) as progress:
        progress.add(answered("a"))
        assert progress.is_ok("a", IMAGES)
        assert not progress.is_ok("a", ((1000, 18),)), "written anew"
        assert not progress.is_ok("a", ((1001, 17),)), "of another size"


def test_what_a_shard_writes_now_is_not_deleted(tmp_path: Path) -> None:
    with opened(tmp_path, shard=Shard(1, 2)) as running:
        running.add(answered("a"))
        with pytest.raises(RequestError, match=r"progress-1-of-2\.jsonl.*another prediction"):
            opened(tmp_path, resume=False)
        assert [finished.row.case for finished in running.finished("a")] == ["a"]


def test_a_number_that_is_none_can_be_read_again(tmp_path: Path) -> None:
    with opened(tmp_path) as progress:
        progress.add(answered("a", features={"t": (float("nan"), float("inf"))}))
    with opened(tmp_path) as progress:
        (found,) = progress.finished("a")
    assert str(found.features["t"]) == "(nan, inf)"


def test_what_a_killed_run_left_half_written_is_removed_unless_somebody_writes(
    tmp_path: Path,
) -> None:
    mask = tmp_path / "a.nii.gz"
    left_over = half_written(mask)
    with opened(tmp_path, shard=Shard(1, 2)), opened(tmp_path) as progress:
        progress.remove_unfinished([mask])
        assert left_over.exists()
    with opened(tmp_path) as progress:
        progress.remove_unfinished([mask])
        assert not left_over.exists()


def test_what_others_left_or_write_is_never_removed(tmp_path: Path) -> None:
    """Another command's unfinished file, a temporary folder, and a name that only looks alike."""
    mask, map_ = tmp_path / "a.nii.gz", tmp_path / "attention" / "a_attention_t.nii.gz"
    own = [half_written(mask), half_written(mask), half_written(map_)]
    foreign = [
        half_written(tmp_path / "report.html"),
        half_written(tmp_path / "b.nii.gz"),
        half_written(tmp_path / "attention" / "a.nii.gz"),
        tmp_path / ".partial-0123456789abcdef.nii.gz",
        tmp_path / ".partial-x",
    ]
    for path in foreign[-2:]:
        path.touch()
    (tmp_path / ".partial-folder-x").mkdir()
    with opened(tmp_path) as progress:
        progress.remove_unfinished([mask, map_, tmp_path / "never" / "made.csv"])
    assert [path for path in own if path.exists()] == []
    assert [path for path in foreign if not path.exists()] == []
    assert (tmp_path / ".partial-folder-x").is_dir()
