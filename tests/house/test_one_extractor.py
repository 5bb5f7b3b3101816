"""B20: archives are unpacked in one place only, `inference/bundles/extraction.py`."""

import re
from pathlib import Path

import pytest

#: Ways to unpack an archive without asking where its entries lead.
UNPACKING = re.compile(
    r"\bextractall\b|\.extract\(|\btarfile\b|unpack_archive|\bpy7zr\b|\brarfile\b"
)
#: Who writes archives, or reads single entries of one into memory.
ZIP_USERS = {"bundles/packing.py", "reporting/submission.py", "reporting/submission_check.py"}


def unpacking_lines(source: str) -> list[str]:
    """Lines of a source text that unpack an archive."""
    return [line.strip() for line in source.splitlines() if UNPACKING.search(line)]


@pytest.mark.parametrize(
    "line",
    [
        "archive.extractall(folder)",
        "zipfile.ZipFile(path).extract(name, folder)",
        "import tarfile",
        "shutil.unpack_archive(path, folder)",
    ],
)
def test_unpacking_is_seen(line: str) -> None:
    assert unpacking_lines(f"    {line}\n") == [line]


def test_reading_an_entry_is_not_taken_for_unpacking() -> None:
    assert unpacking_lines("content = archive.read(name)\nextract_archive(path, folder)\n") == []


def test_nothing_in_the_package_unpacks_an_archive_unchecked(repository: Path) -> None:
    package = repository / "src" / "segduet"
    found = {
        path.relative_to(package).as_posix(): unpacking_lines(path.read_text(encoding="utf-8"))
        for path in package.rglob("*.py")
    }
    assert len(found) > 100
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_zip_archives_are_opened_where_we_know(repository: Path) -> None:
    package = repository / "src" / "segduet"
    users = {
        f"{path.parent.name}/{path.name}"
        for path in package.rglob("*.py")
        if re.search(r"\bZipFile\(", path.read_text(encoding="utf-8"))
    }
    assert users == ZIP_USERS
