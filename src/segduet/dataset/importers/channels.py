"""Channel names where the user gives none."""

from pathlib import Path

from segduet.core.errors import RequestError
from segduet.dataset.convert import is_mat
from segduet.dataset.importers.options import ImportOptions
from segduet.io.images import read_image
from segduet.io.matlab import read_mat_image


def names_of_channels(example: tuple[Path, ...], options: ImportOptions) -> tuple[str, ...]:
    """The user's channel names, or what the image suggests.

    That is `image` for one channel, the variables of a MATLAB frame, `red`, `green`, `blue` of a
    picture, otherwise `image_0`, `image_1`, ...

    Args:
        example: image files of one case.
        options: what the user said.

    Raises:
        DataError: the example cannot be read.
        RequestError: a channel name is given twice.
    """
    names = options.channel_names
    if len(set(names)) != len(names):
        raise RequestError(
            "--channels",
            found=f"{list(names)}",
            expected="names that differ",
            remedy="Rename one of them.",
        )
    if names:
        return names
    if is_mat(example[0]):
        return read_mat_image(example[0]).channel_names
    count = len(read_image(example).array)
    if count == 1:
        return ("image",)
    if len(example) == 1:
        return ("red", "green", "blue", "alpha")[:count]
    return tuple(f"image_{i}" for i in range(count))
