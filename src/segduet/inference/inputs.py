"""Which images belong to which case, by nnU-Net's file names."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from segduet.core.errors import DataError
from segduet.inference.case_input import CaseInput
from segduet.inference.input_lists import listed_files, tabled_cases

_CHANNEL_NAME = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")
#: One file of these may hold all channels, as colours.
_PICTURE_ENDINGS = (".png", ".bmp", ".tif", ".tiff")
#: Endings of a table and of a list of cases.
_LISTS = (".csv", ".txt")
_NAMING_REMEDY = "Name the images <case>_0000{ending}, <case>_0001{ending}, one per channel."


def find_case_inputs(
    source: Path | Sequence[Path], *, num_channels: int, file_ending: str
) -> list[CaseInput]:
    """The cases in a folder, a list of files or a table, sorted by case id.

    Images are named `<case>_0000<ending>`, `<case>_0001<ending>`, ... Where one file may hold
    everything (one channel, or a picture whose colours are the channels) a plain `<case><ending>`
    does too; a name such as `scan_2023` or `scan_0001` without a `scan_0000` beside it is then a
    plain case id. Hidden files and other endings in a folder are passed over.

    A `.txt` file lists images, one path per line. A `.csv` table has the columns `case` and
    `image`, or `case` and `image_0000`, `image_0001`, ... for several channels, and any others.
    Paths in both are relative to the file; whether an image is there shows when its turn comes.

    Args:
        source: a folder, one file, files, or a list or table of files.
        num_channels: images per case that the model was trained with.
        file_ending: such as `.nii.gz`.

    Raises:
        DataError: no such folder or file, nothing with this ending, or a case whose channels are
            not exactly 0 to `num_channels - 1`.
    """
    listing = _listing(source)
    if listing is not None and listing.suffix == ".csv":
        cases = tabled_cases(listing, num_channels=num_channels)
        _check_unique(cases)
        return sorted(cases, key=lambda c: c.case)
    files = _files(source, file_ending) if listing is None else listed_files(listing, file_ending)
    grouped, plain = _split_names(files, file_ending)
    may_be_one_file = num_channels == 1 or file_ending.lower() in _PICTURE_ENDINGS
    if may_be_one_file:
        for case in [case for case, channels in grouped.items() if 0 not in channels]:
            plain += grouped.pop(case).values()
    elif plain:
        _refuse_plain(plain[0], num_channels, file_ending)
    wanted = [list(range(num_channels)), *([[0]] if may_be_one_file else [])]
    cases = [
        *(CaseInput(case=p.name.removesuffix(file_ending), image_paths=(p,)) for p in plain),
        *(_of_channels(case, c, wanted, file_ending) for case, c in grouped.items()),
    ]
    _check_unique(cases)
    return sorted(cases, key=lambda c: c.case)


def _listing(source: Path | Sequence[Path]) -> Path | None:
    """The list or table that the source is."""
    paths = [source] if isinstance(source, Path) else list(source)
    is_listing = len(paths) == 1 and paths[0].is_file() and paths[0].suffix in _LISTS
    return paths[0] if is_listing else None


def _split_names(
    files: Iterable[Path], file_ending: str
) -> tuple[dict[str, dict[int, Path]], list[Path]]:
    """Files by case and channel number, and those without a channel number."""
    grouped: dict[str, dict[int, Path]] = defaultdict(dict)
    plain: list[Path] = []
    for path in files:
        _check_is_text(path)
        parts = _CHANNEL_NAME.fullmatch(path.name.removesuffix(file_ending))
        if parts is None:
            plain.append(path)
            continue
        case, channel = parts["case"], int(parts["channel"])
        if channel in grouped[case]:
            raise _repeated(case, grouped[case][channel], path)
        grouped[case][channel] = path
    return grouped, plain


def _check_is_text(path: Path) -> None:
    """Neither tables nor ITK take a name in another encoding."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            ascii(str(path)),
            found="a name that is not UTF-8",
            expected="one that a table can hold",
            remedy="Rename the file.",
        ) from error


def _files(source: Path | Sequence[Path], file_ending: str) -> list[Path]:
    if isinstance(source, Path) and source.is_dir():
        entries = sorted(p for p in source.iterdir() if not p.name.startswith("."))
        files = [p for p in entries if p.is_file() and p.name.endswith(file_ending)]
        if not files:
            raise DataError(
                str(source),
                found=f"{len(entries)} files, none ending in {file_ending}"
                + (f" (such as {entries[0].name})" if entries else ""),
                expected=f"images ending in {file_ending}, as the model was trained with",
                remedy="Check the folder, or convert the images.",
            )
        return files
    named = [source] if isinstance(source, Path) else list(source)
    for path in named:
        if len(named) > 1:
            _refuse_among_others(path)
        _check_named_file(path, file_ending)
    if not named:
        raise DataError(
            "input", found="no files", expected="at least one image", remedy="Name some images."
        )
    return named


def _refuse_among_others(path: Path) -> None:
    """What names all cases cannot be joined with anything else."""
    what = "a folder" if path.is_dir() else "a list or table" if path.suffix in _LISTS else None
    if what:
        raise DataError(
            str(path),
            found=f"{what} of cases beside other inputs",
            expected="a folder, a list or a table alone, or image files",
            remedy="Predict it alone, or name its images.",
        )


def _check_named_file(path: Path, file_ending: str) -> None:
    if not path.is_file():
        raise DataError(
            str(path), found="no such file", expected="an image", remedy="Check the path."
        )
    if not path.name.endswith(file_ending):
        raise DataError(
            str(path),
            found="another file ending",
            expected=f"{file_ending}, as the model was trained with",
            remedy="Convert the image.",
        )


def _refuse_plain(path: Path, num_channels: int, file_ending: str) -> None:
    raise DataError(
        str(path),
        found="a name without a channel number",
        expected=f"{num_channels} channels per case",
        remedy=_NAMING_REMEDY.format(ending=file_ending),
    )


def _of_channels(
    case: str, channels: dict[int, Path], wanted: list[list[int]], file_ending: str
) -> CaseInput:
    if sorted(channels) not in wanted:
        raise DataError(
            f"case {case!r}",
            found=f"channels {sorted(channels)}",
            expected=f"exactly channels {wanted[0]}",
            remedy=_NAMING_REMEDY.format(ending=file_ending),
        )
    return CaseInput(case=case, image_paths=tuple(channels[i] for i in sorted(channels)))


def _check_unique(cases: Iterable[CaseInput]) -> None:
    seen: dict[str, CaseInput] = {}
    for case in cases:
        if case.case in seen:
            raise _repeated(case.case, seen[case.case].image_paths[0], case.image_paths[0])
        seen[case.case] = case


def _repeated(case: str, first: Path, second: Path) -> DataError:
    return DataError(
        f"case {case!r}",
        found=f"several images that would give this case id, {first} and {second}",
        expected="every case id once",
        remedy="Rename or remove one of them.",
    )
