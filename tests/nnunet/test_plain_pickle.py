"""Property pickles are read without running what they ask for."""

import collections
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from segduet.core.errors import DataError
from segduet.nnunet.plain_pickle import read_plain_pickle, write_plain_pickle


class Malicious:
    """Unpickling it with the standard reader would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (str(self.target),))


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_types_come_back(tmp_path: Path, protocol: int) -> None:
    content = {
        "spacing": [np.float64(2.5), 1.0],
        "box": [[0, 3], [1, 4]],
        1: np.arange(6).reshape(2, 3),
        (1, 2): collections.OrderedDict(a=np.int64(3), b=None),
    }
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_plain_pickle(tmp_path / "x.pkl")
    np.testing.assert_array_equal(found.pop(1), content.pop(1))
    assert found == content


def test_what_we_write_any_reader_reads(tmp_path: Path) -> None:
    write_plain_pickle(tmp_path / "x.pkl", {"a": (1, 2.0)})
    assert pickle.loads((tmp_path / "x.pkl").read_bytes()) == {"a": (1, 2.0)}


def test_a_malicious_pickle_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    """F52."""
    target = tmp_path / "made-by-the-pickle"
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"spacing": Malicious(target)}))
    with pytest.raises(DataError, match="mkdir"):
        read_plain_pickle(tmp_path / "x.pkl")
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps({"a": 1})[:-3]])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.pkl"):
        read_plain_pickle(tmp_path / "x.pkl")


def test_only_dictionaries_and_files_that_exist(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match="a pickled list"):
        read_plain_pickle(tmp_path / "x.pkl")
    with pytest.raises(DataError, match=r"gone\.pkl"):
        read_plain_pickle(tmp_path / "gone.pkl")
