"""Issue 6: how far shards are, read from their files while they write them."""

import json
from pathlib import Path

from segduet.inference.progress_watch import ProgressWatch

CASES = ("a", "b", "c", "d")


def _write(file: Path, *cases: str, status: str = "ok", ending: str = "\n") -> None:
    if not file.exists():
        file.write_text('{"weights": []}\n')
    with file.open("a") as stream:
        for case in cases:
            stream.write(json.dumps({"row": {"case": case, "status": status}}) + ending)


def test_each_case_is_told_once_from_whichever_file(tmp_path: Path) -> None:
    watch = ProgressWatch(tmp_path, CASES)
    assert list(watch.new_cases()) == []
    _write(tmp_path / "progress-1-of-2.jsonl", "a")
    _write(tmp_path / "progress-2-of-2.jsonl", "b", status="failed")
    assert list(watch.new_cases()) == ["a", "b"]
    _write(tmp_path / "progress-1-of-2.jsonl", "a", "c")
    assert [(case, watch.num_done) for case in watch.new_cases()] == [("c", 3)]


def test_what_was_answered_before_counts_and_what_failed_does_not(tmp_path: Path) -> None:
    """A case that failed is tried again; one that is no longer asked for does not count."""
    _write(tmp_path / "progress.jsonl", "a", "gone")
    _write(tmp_path / "progress.jsonl", "b", status="failed")
    watch = ProgressWatch(tmp_path, CASES)
    assert watch.num_done == 1
    _write(tmp_path / "progress-1-of-2.jsonl", "b", "gone")
    assert [(case, watch.num_done) for case in watch.new_cases()] == [("b", 2)]


def test_a_line_that_is_half_written_is_told_once_it_is_whole(tmp_path: Path) -> None:
    watch, file = ProgressWatch(tmp_path, CASES), tmp_path / "progress-1-of-2.jsonl"
    _write(file, "a", ending="")
    assert list(watch.new_cases()) == []
    file.write_text(file.read_text() + "\n")
    assert list(watch.new_cases()) == ["a"]


def test_a_file_without_its_first_line_yet_is_read_later(tmp_path: Path) -> None:
    watch, file = ProgressWatch(tmp_path, CASES), tmp_path / "progress-1-of-2.jsonl"
    file.touch()
    assert list(watch.new_cases()) == []
    file.write_text('{"weights": []}\n')
    assert list(watch.new_cases()) == []
    _write(file, "a")
    assert list(watch.new_cases()) == ["a"]
