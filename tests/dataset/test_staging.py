"""A folder appears whole or not at all."""

import pytest

from segduet.core.errors import StorageError
from segduet.dataset.staging import staged_folder


def test_folder_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "deep" / "target"
    with staged_folder(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
        assert folder.parent == target.parent
    assert (target / "a").read_text() == "1"
    assert [p.name for p in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error_or_interruption(tmp_path, error):
    def fail():
        with staged_folder(tmp_path / "target") as folder:
            (folder / "a").write_text("1")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_a_storage_error(tmp_path):
    def fail():
        with staged_folder(tmp_path / "target"):
            raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left on device"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_folder_with_content_is_not_replaced(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").touch()

    def replace():
        with staged_folder(tmp_path / "target") as folder:
            (folder / "new").touch()

    with pytest.raises(StorageError):
        replace()
    assert [p.name for p in tmp_path.rglob("*")] == ["target", "old"]
