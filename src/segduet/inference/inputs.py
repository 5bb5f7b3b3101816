"""Which images belong to which case, by nnU-Net's file names."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segduet.core.errors import DataError

_CHANNEL_NAME = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")
#: One file of these may hold all channels, as colours.
_PICTURE_ENDINGS = (".png", ".bmp", ".tif", ".tiff")
_NAMING_REMEDY = "Name the images <case>_0000{ending}, <case>_0001{ending}, one per channel."


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseInput:
    """One case to predict.

    Attributes:
        case: case id, the name of its answers.
        image_paths: one file per channel, in channel order.
    """

    case: str
    image_paths: tuple[Path, ...]


def find_case_inputs(
    source: Path | Sequence[Path], *, num_channels: int, file_ending: str
) -> list[CaseInput]:
    """The cases in a folder or in a list of files, sorted by case id.

    Images are named `<case>_0000<ending>`, `<case>_0001<ending>`, ... Where one file may hold
    everything (one channel, or a picture whose colours are the channels) a plain `<case><ending>`
    does too; a name such as `scan_2023` or `scan_0001` without a `scan_0000` beside it is then a
    plain case id. Hidden files and other endings in a folder are passed over.

    Args:
        source: a folder, one file, or files.
        num_channels: images per case that the model was trained with.
        file_ending: such as `.nii.gz`.

    Raises:
        DataError: no such folder or file, nothing with this ending, or a case whose channels are
            not exactly 0 to `num_channels - 1`.
    """
    grouped, plain = _split_names(_files(source, file_ending), file_ending)
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


def _split_names(
    files: Iterable[Path], file_ending: str
) -> tuple[dict[str, dict[int, Path]], list[Path]]:
    """Files by case and channel number, and those without a channel number."""
    grouped: dict[str, dict[int, Path]] = defaultdict(dict)
    plain: list[Path] = []
    for path in files:
        parts = _CHANNEL_NAME.fullmatch(path.name.removesuffix(file_ending))
        if parts is None:
            plain.append(path)
        else:
            grouped[parts["case"]][int(parts["channel"])] = path
    return grouped, plain


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
        _check_named_file(path, file_ending)
    if not named:
        raise DataError(
            "input", found="no files", expected="at least one image", remedy="Name some images."
        )
    return named


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
    repeated = [case for case, n in Counter(c.case for c in cases).items() if n > 1]
    if repeated:
        raise DataError(
            f"case {repeated[0]!r}",
            found="several images that would give this case id",
            expected="every case id once",
            remedy="Rename or remove one of them.",
        )
