"""F80: one broken case is reported and the others are done; nothing hangs, no thread is left."""

import threading

import numpy as np
import pytest

from segduet.core.errors import DataError, RequestError, StorageError
from segduet.core.geometry import Geometry
from segduet.core.prediction import FailedCase, Prediction
from segduet.core.volume import Volume
from segduet.inference.case_input import CaseInput
from segduet.inference.cohort import predict_cohort

pytestmark = pytest.mark.timeout(20)
_GEOMETRY = Geometry(shape_zyx=(1, 1, 1), spacing_zyx_mm=(1.0, 1.0, 1.0))


def _error(kind):
    return kind("scan.nii.gz", found="half a file", expected="a whole one", remedy="Copy it again.")


class _Run:
    """Cases named c0, c1, ...; each stage raises what is planned for a case, and keeps a record."""

    def __init__(self, num_cases=5, *, read=None, predict=None, write=None):
        self.cases = [CaseInput(case=f"c{i}", image_paths=(f"c{i}",)) for i in range(num_cases)]
        self.plans = {"read": read or {}, "predict": predict or {}, "write": write or {}}
        self.log = []

    def _do(self, stage, case):
        if case in self.plans[stage]:
            raise self.plans[stage][case]
        self.log.append((stage, case))

    def read(self, paths):
        self._do("read", paths[0])
        return Volume(array=np.zeros((1, 1, 1, 1)), geometry=_GEOMETRY)

    def predict(self, case, volume):
        assert threading.current_thread() is threading.main_thread()
        self._do("predict", case)
        return Prediction(case=case, label_map=volume.array[0], geometry=_GEOMETRY)

    def write(self, prediction):
        self._do("write", prediction.case)

    def outcomes(self):
        return predict_cohort(self.cases, read=self.read, predict=self.predict, write=self.write)

    def done(self, stage):
        return [case for what, case in self.log if what == stage]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def _statuses(outcomes):
    return {o.case: isinstance(o, Prediction) for o in outcomes}


def test_all_cases_are_read_predicted_written_and_yielded_in_order():
    run = _Run()
    outcomes = list(run.outcomes())
    names = ["c0", "c1", "c2", "c3", "c4"]
    assert [o.case for o in outcomes] == names
    for stage in ("read", "predict", "write"):
        assert run.done(stage) == names


def test_no_cases_give_no_outcomes():
    assert list(_Run(0).outcomes()) == []


@pytest.mark.parametrize("stage", ["read", "predict"])
@pytest.mark.parametrize("broken", ["c0", "c2", "c4"])
def test_a_broken_case_is_named_and_the_others_are_done(stage, broken):
    run = _Run(**{stage: {broken: _error(DataError)}})
    outcomes = list(run.outcomes())
    assert _statuses(outcomes) == {f"c{i}": f"c{i}" != broken for i in range(5)}
    failed = next(o for o in outcomes if isinstance(o, FailedCase))
    assert failed.message == (
        "scan.nii.gz: found half a file; expected a whole one. Copy it again."
    )
    assert run.done("write") == [f"c{i}" for i in range(5) if f"c{i}" != broken]


@pytest.mark.parametrize("stage", ["read", "predict"])
def test_an_error_of_our_own_fails_its_case_loudly(stage, caplog):
    run = _Run(**{stage: {"c1": ZeroDivisionError("division\nby zero")}})
    outcomes = list(run.outcomes())
    assert outcomes[1] == FailedCase(case="c1", message="ZeroDivisionError: division by zero")
    assert sum(_statuses(outcomes).values()) == 4
    assert "case c1 could not be predicted" in caplog.text
    assert "Traceback" in caplog.text


def test_every_case_may_fail():
    run = _Run(3, read={f"c{i}": _error(DataError) for i in range(3)})
    assert _statuses(run.outcomes()) == {"c0": False, "c1": False, "c2": False}


def test_a_full_disk_stops_the_run():
    """The case before was written and yielded; no case after the next is begun."""
    run = _Run(8, write={"c2": _error(StorageError)})
    seen = []
    with pytest.raises(StorageError, match="half a file"):
        seen.extend(o.case for o in run.outcomes())
    assert run.done("write") == ["c0", "c1"]
    assert run.done("predict") == ["c0", "c1", "c2", "c3"]
    assert len(run.done("read")) <= 5


def test_a_full_disk_at_the_last_case_is_not_lost():
    with pytest.raises(StorageError):
        list(_Run(3, write={"c2": _error(StorageError)}).outcomes())


def test_a_wrong_request_stops_the_run_since_no_other_case_can_mend_it():
    run = _Run(predict={"c1": _error(RequestError)})
    seen = []
    with pytest.raises(RequestError):
        seen.extend(o.case for o in run.outcomes())
    assert seen == run.done("write") == ["c0"]


def test_ctrl_c_keeps_the_cases_that_are_finished():
    run = _Run(6, predict={"c3": KeyboardInterrupt()})
    seen = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(o.case for o in run.outcomes())
    assert seen == run.done("write") == ["c0", "c1", "c2"]
    assert len(run.done("read")) <= 5


def test_a_consumer_that_stops_early_leaves_no_thread_and_no_half_written_case():
    run = _Run(6)
    outcomes = run.outcomes()
    assert next(outcomes).case == "c0"
    outcomes.close()
    assert run.done("predict") == run.done("write")


def test_the_next_case_is_read_and_the_last_written_while_one_is_predicted():
    """Reading c1 does not wait for predicting c0, nor predicting c1 for writing c0."""
    c1_is_read, c1_is_predicted = threading.Event(), threading.Event()
    run = _Run(2)
    seen = {}

    def read(paths):
        volume = run.read(paths)
        if paths[0] == "c1":
            c1_is_read.set()
        return volume

    def predict(case, volume):
        if case == "c0":
            seen["read ahead"] = c1_is_read.wait(10)
        else:
            c1_is_predicted.set()
        return run.predict(case, volume)

    def write(prediction):
        if prediction.case == "c0":
            seen["written behind"] = c1_is_predicted.wait(10)
        run.write(prediction)

    list(predict_cohort(run.cases, read=read, predict=predict, write=write))
    assert seen == {"read ahead": True, "written behind": True}
    assert run.done("write") == ["c0", "c1"]


def test_at_most_one_image_waits():
    """Reading is at most one case ahead of predicting, so memory does not grow with the cohort."""
    run = _Run(8)
    ahead = []

    def predict(case, volume):
        ahead.append(len(run.done("read")) - len(run.done("predict")))
        return run.predict(case, volume)

    list(predict_cohort(run.cases, read=run.read, predict=predict, write=run.write))
    assert max(ahead) <= 2


class _SideBySide(_Run):
    """Three cases at once, each by a thread of its own."""

    def predict(self, case, volume):
        assert threading.current_thread() is not threading.main_thread()
        self._do("predict", case)
        return Prediction(case=case, label_map=volume.array[0], geometry=_GEOMETRY)

    def outcomes(self):
        return predict_cohort(
            self.cases, read=self.read, predict=self.predict, write=self.write, at_once=3
        )


def test_cases_side_by_side_meet_and_are_yielded_in_order():
    """Every case waits until two others are at work, which one after the other would never be."""
    together = threading.Barrier(3, timeout=10)
    run = _SideBySide(6)

    def predict(case, volume):
        together.wait()
        return run.predict(case, volume)

    outcomes = predict_cohort(run.cases, read=run.read, predict=predict, write=run.write, at_once=3)
    names = [f"c{i}" for i in range(6)]
    assert [o.case for o in outcomes if isinstance(o, Prediction)] == names
    assert run.done("write") == names
    assert sorted(run.done("predict")) == names


@pytest.mark.parametrize("stage", ["read", "predict"])
def test_a_broken_case_among_others_side_by_side_is_named(stage):
    run = _SideBySide(7, **{stage: {"c3": _error(DataError), "c6": ZeroDivisionError("oh")}})
    assert _statuses(run.outcomes()) == {f"c{i}": i not in (3, 6) for i in range(7)}


@pytest.mark.parametrize(("stage", "kind"), [("predict", RequestError), ("write", StorageError)])
def test_side_by_side_what_no_case_can_mend_stops_the_run(stage, kind):
    """Cases before are written and yielded; of forty, only those that had been begun are done."""
    run = _SideBySide(40, **{stage: {"c2": _error(kind)}})
    seen = []
    with pytest.raises(kind):
        seen.extend(o.case for o in run.outcomes())
    assert seen == ["c0", "c1"][: len(seen)]
    assert run.done("write") == ["c0", "c1"]
    assert len(run.done("predict")) <= 15


def test_ctrl_c_while_cases_run_side_by_side_keeps_those_that_are_written():
    run = _SideBySide(40, predict={"c2": KeyboardInterrupt()})
    seen = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(o.case for o in run.outcomes())
    assert seen == run.done("write") == ["c0", "c1"]
    assert len(run.done("predict")) <= 15


def test_no_more_answers_wait_than_twice_the_threads():
    run = _SideBySide(30)
    ahead = []
    for _ in run.outcomes():
        ahead.append(len(run.done("read")) - len(ahead))
    assert max(ahead) <= 9
