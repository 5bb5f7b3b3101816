"""What `predict` and `segduet.load` are given: a model folder, or a bundle, unpacked or not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segduet.core.errors import RequestError
from segduet.inference.bundles.opening import (
    Bundle,
    is_bundle,
    open_bundle_archive,
    open_bundle_folder,
)
from segduet.workflows.conversion_cache import ConversionCache
from segduet.workflows.converted_models import sound_bundle
from segduet.workflows.models import Checkpoints, ModelFolder, first_stage_folder, open_model


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedBundle:
    """A bundle and where it came from.

    Attributes:
        path: the folder or archive that was asked for.
        bundle: unpacked.
        cache: where what is made of it is kept.
    """

    path: Path
    bundle: Bundle
    cache: ConversionCache


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedFolder:
    """A model folder.

    Attributes:
        folder: what is in it; no weights are read.
        cache: where its conversions are kept.
    """

    folder: ModelFolder
    cache: ConversionCache


Source = OpenedBundle | OpenedFolder


def open_source(
    path: Path, folds: Sequence[str] | None, checkpoints: Checkpoints, cache: Path | None
) -> Source:
    """Opens a model.

    Args:
        path: model folder, one of its fold folders, or a bundle.
        folds: folds to use; None takes all that are finished.
        checkpoints: which models of each fold.
        cache: folder for conversions and unpacked archives; None takes the usual ones.

    Raises:
        RequestError: no such model or fold, or folds of a bundle are asked for.
        DataError: a damaged folder, or a bundle that is not what it should be.
        StorageError: an archive could not be unpacked.
    """
    if not is_bundle(path):
        folder = open_model(path, folds, checkpoints)
        return OpenedFolder(folder=folder, cache=ConversionCache.beside(folder.folder, cache))
    if folds is not None or checkpoints is not Checkpoints.FINAL:
        raise RequestError(
            str(path),
            found="a choice of folds or checkpoints for a bundle",
            expected="a model folder for such a choice, as a bundle answers as a whole",
            remedy="Leave the option out, or choose when exporting.",
        )
    kept = ConversionCache.for_bundles(cache)
    # an archive is checked when it is unpacked, a folder that came from somewhere every time
    bundle = _unpacked(path, kept) if path.is_file() else open_bundle_folder(path, verify=True)
    return OpenedBundle(path=path, bundle=bundle, cache=kept)


def first_stage(source: Source) -> Path | None:
    """Model folder of the stage before a cascade's second one; None where there is none.

    Raises:
        RequestError: it is not there, the folds were trained after different ones, or the second
            stage is a bundle, which does not know where the first one is.
    """
    if isinstance(source, OpenedFolder):
        return first_stage_folder(source.folder)
    if source.bundle.configuration.previous_stage is not None:
        raise RequestError(
            str(source.path),
            found="the second stage of a cascade alone",
            expected="a bundle that answers from the image",
            remedy="Predict with the model folders of both stages.",
        )
    return None


def weights_sha256(source: Source) -> dict[str, str]:
    """Network -> hash of the weights it was trained to, of which it may be a conversion."""
    if isinstance(source, OpenedBundle):
        return dict(source.bundle.manifest.source.weights_sha256)
    folder, hashes = source.folder, source.cache.hashes
    return {str(f.relative_to(folder.folder)): hashes.sha256(f) for f in folder.weights}


def _unpacked(archive: Path, cache: ConversionCache) -> Bundle:
    name = f"bundle-{cache.hashes.sha256(archive)[:24]}"
    if found := cache.find(name):
        if bundle := sound_bundle(found, cache.hashes):
            cache.hashes.save(found.parent)
            return bundle
        cache.remove(found)
    made = cache.make(name, _unpacker(archive))
    cache.hashes.save(made.parent)
    return open_bundle_folder(made, verify=False)


def _unpacker(archive: Path) -> Callable[[Path], None]:
    def unpack(target: Path) -> None:
        open_bundle_archive(archive, target)

    return unpack
