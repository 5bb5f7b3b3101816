r"""Which names a bundle's files may have: plain relative paths, the same on every system.

Source of what Windows forbids: Microsoft, "Naming Files, Paths, and Namespaces" (2024).
"""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from segduet.inference.bundles.refusals import refused, shown

#: What a bundle may hold, by ending; pickles, scripts and libraries have none of these.
ALLOWED_SUFFIXES = frozenset({".bin", ".json", ".md", ".onnx", ".safetensors", ".xml"})

_MAX_PATH_LENGTH = 200
_MAX_DEPTH = 8
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_FORBIDDEN = frozenset('<>:"|?*')


def check_names(names: Iterable[str], *, where: str) -> None:
    """Checks that files of these names can be written below a folder, each as a file of its own.

    Args:
        names: paths with forward slashes.
        where: the bundle, for messages.

    Raises:
        DataError: a path that leaves the folder or that some system takes for something else, an
            ending that is not allowed, two names that a system takes for one, or a file that is
            another one's folder.
    """
    names = list(names)
    for name in names:
        _check_path(name, f"{where}, entry {shown(name)}")
    taken: dict[str, str] = {}
    for name in names:
        same = _folded(name)
        if same in taken:
            raise refused(
                f"{where}, entry {shown(name)}",
                found=f"the same name as {shown(taken[same])}, but for case or accents at most",
                expected="every name once",
            )
        taken[same] = name
    for name in names:
        _check_parents(name, taken, where)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _check_path(name: str, where: str) -> None:
    _check_characters(name, where)
    if name.startswith("/"):
        raise refused(where, found="an absolute path", expected="a path below the bundle")
    if re.match(r"[A-Za-z]:", name):
        raise refused(where, found="a drive letter", expected="a path below the bundle")
    if name.endswith("/"):
        raise refused(where, found="a folder", expected="files only")
    parts = name.split("/")
    if ".." in parts:
        raise refused(where, found="a path out of the bundle ('..')", expected="one below it")
    if len(name) > _MAX_PATH_LENGTH or len(parts) > _MAX_DEPTH:
        raise refused(
            where,
            found=f"a path of {len(name)} characters and {len(parts)} parts",
            expected=f"at most {_MAX_PATH_LENGTH} and {_MAX_DEPTH}",
        )
    for part in parts:
        _check_part(part, where)
    if PurePosixPath(name).suffix not in ALLOWED_SUFFIXES:
        raise refused(
            where,
            found=f"the ending {shown(PurePosixPath(name).suffix)}",
            expected=f"one of {sorted(ALLOWED_SUFFIXES)}",
        )


def _check_characters(name: str, where: str) -> None:
    if "\0" in name:
        raise refused(where, found="a NUL in the name", expected="a plain name")
    if not name.isprintable():
        raise refused(where, found="control characters in the name", expected="a plain name")
    if "\\" in name:
        raise refused(where, found="a backslash in the name", expected="forward slashes")


def _check_part(part: str, where: str) -> None:
    if part in ("", ".") or part != part.strip(" ") or part.endswith("."):
        raise refused(
            where,
            found=f"the path part {shown(part)}",
            expected="parts that neither are empty or '.' nor begin or end with a blank or dot",
        )
    if _RESERVED.fullmatch(part):
        raise refused(where, found=f"the device name {shown(part)}", expected="a file name")
    if _FORBIDDEN & set(part):
        raise refused(
            where,
            found=f"{shown(part)} with a character that Windows forbids",
            expected=f"none of {' '.join(sorted(_FORBIDDEN))}",
        )


def _check_parents(name: str, taken: dict[str, str], where: str) -> None:
    for parent in PurePosixPath(name).parents:
        if _folded(str(parent)) in taken:
            raise refused(
                f"{where}, entry {shown(name)}",
                found=f"the file {shown(str(parent))} used as a folder",
                expected="a name that is a file or a folder",
            )
