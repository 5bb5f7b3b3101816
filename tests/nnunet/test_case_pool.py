"""Work on many cases, and errors that name the case."""

import importlib
import os
from pathlib import Path

import pytest

from segduet.core.errors import DataError, SegduetError
from segduet.nnunet.case_pool import work_on_cases


def refuse(case: str, _: int) -> None:
    raise DataError(f"case {case}", found="x", expected="y", remedy="Z.")


def test_one_worker_keeps_the_order_and_stays_in_this_process() -> None:
    found = list(
        work_on_cases(lambda case, n: (os.getpid(), case * n), {"b": 2, "a": 1}, workers=1)
    )
    assert found == [("b", (os.getpid(), "bb")), ("a", (os.getpid(), "a"))]


def test_several_workers_finish_every_case() -> None:
    # workers are fresh processes that cannot import a test file, so the function is a built-in one
    found = work_on_cases(str.startswith, {"ab": "a", "cd": "x", "ef": "e"}, workers=2)
    assert dict(found) == {"ab": True, "cd": False, "ef": True}


def test_errors_name_the_case_and_ours_stay_as_they_are() -> None:
    with pytest.raises(SegduetError, match=r"case 'a'.*ZeroDivisionError"):
        list(work_on_cases(lambda _, n: 1 / n, {"a": 0}, workers=1))
    with pytest.raises(DataError, match="case a: found x"):
        list(work_on_cases(refuse, {"a": 0}, workers=1))
    with pytest.raises(SegduetError, match=r"case 'a'.*TypeError"):
        list(work_on_cases(str.startswith, {"a": 0}, workers=2))


def test_a_killed_worker_is_noticed_and_its_case_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that the system kills, as when memory runs out, must not hang the run."""
    source = "import os\n\ndef kill(case, item):\n    os.kill(os.getpid(), 9)\n"
    (tmp_path / "doomed_worker.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    kill = importlib.import_module("doomed_worker").kill
    with pytest.raises(SegduetError, match=r"case victim.*killed"):
        list(work_on_cases(kill, {"victim": 0}, workers=2))
