import errno
import hashlib
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segduet.core import files
from segduet.core.errors import DataError, StorageError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "answer.json"
    target.write_text("old")

    def fail() -> None:
        with files.atomic_path(target) as temporary:
            temporary.write_text("half of the new")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["answer.json"]


@pytest.mark.parametrize("call", ["fsync", "replace", "write"])
def test_a_full_disk_is_one_message_with_exit_code_2_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    target = tmp_path / "answer.json"
    files.write_json(target, {"a": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place = {"fsync": (os, "fsync"), "replace": (Path, "replace"), "write": (Path, "write_text")}
    monkeypatch.setattr(*place[call], full)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        files.write_json(target, {"a": 2})
    assert caught.value.exit_code == 2
    assert str(target) in str(caught.value)
    assert files.read_json(target) == {"a": 1}
    assert names(tmp_path) == ["answer.json"]


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(StorageError, match=r"out/answer\.json: found the write failed"):
        files.write_text(tmp_path / "out" / "answer.json", "text")


KILLED = """
import os, signal, sys
from pathlib import Path
from segduet.core.files import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of the new")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    """B10: the same road every checkpoint takes."""
    target = tmp_path / "answer.txt"
    target.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, target], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert target.read_text() == "old"


@pytest.mark.parametrize(
    ("name", "ending"),
    [("case.nii.gz", ".nii.gz"), ("model.safetensors", ".safetensors"), ("plain", "")],
)
def test_the_temporary_file_has_the_ending_writers_choose_a_format_by(
    tmp_path: Path, name: str, ending: str
) -> None:
    with files.atomic_path(tmp_path / "new" / name) as temporary:
        assert temporary.parent == tmp_path / "new"
        assert temporary.name.endswith(ending)
        temporary.write_bytes(b"\0")
    assert names(tmp_path / "new") == [name]


PLAIN_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(content=PLAIN_JSON)
def test_json_reads_back_equal_with_its_keys_in_order(
    content: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.getbasetemp() / "round-trip.json"
    files.write_json(target, content)
    assert repr(files.read_json(target)) == repr(content)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, value: float
) -> None:
    """F56: an undefined number is None with a reason, never NaN in a file."""
    with pytest.raises(ValueError, match="Out of range float values"):
        files.write_json(tmp_path / "summary.json", {"dsc": value})
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "found"),
    [(None, "no such file"), (b"{", "cannot be read as JSON"), (b"\xff\xfe", "cannot be read")],
)
def test_json_that_is_missing_or_broken_is_a_data_error(
    tmp_path: Path, content: bytes | None, found: str
) -> None:
    source = tmp_path / "plans.json"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(DataError, match=found) as caught:
        files.read_json(source)
    assert caught.value.exit_code == 2


def test_a_table_reads_back_with_quotes_commas_and_umlauts(tmp_path: Path) -> None:
    rows = [{"case": "a, b", "class": 'so "called"'}, {"case": "ü", "class": ""}]
    files.write_csv(tmp_path / "t.csv", ["case", "class"], rows)
    assert files.read_csv(tmp_path / "t.csv") == (["case", "class"], rows)


def test_a_row_with_a_column_too_many_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fields not in fieldnames"):
        files.write_csv(tmp_path / "t.csv", ["case"], [{"case": "a", "class": "b"}])
    assert names(tmp_path) == []


def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """Byte-order mark, Windows line ends, blanks around values, empty lines at the end."""
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfcase , class\r\n a,b \r\n,\r\n")
    assert files.read_csv(tmp_path / "t.csv") == (["case", "class"], [{"case": "a", "class": "b"}])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no such file"),
        (b"", "an empty file"),
        (b"\xff\xfe\xfd", "cannot be read as a table"),
        (b"case,case\na,b\n", "with a repeated column"),
        (b"case,class\na,b\nc\n", r"line 3: found 1 values; expected 2"),
    ],
)
def test_a_table_that_is_missing_or_broken_is_a_data_error(
    tmp_path: Path, content: bytes | None, found: str
) -> None:
    source = tmp_path / "cases.csv"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(DataError, match=found):
        files.read_csv(source)


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "b", b"abc")
    assert files.sha256(tmp_path / "b") == hashlib.sha256(b"abc").hexdigest()
