"""Trained models converted for a runtime: made once, kept, and opened as bundles (F71, B12).

Opening one that is kept imports neither torch nor nnunetv2.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from segduet.core.errors import DataError
from segduet.core.runtime import RuntimeFormat
from segduet.inference.bundles.opening import Bundle, open_bundle_folder
from segduet.workflows.conversion_cache import ConversionCache, conversion_name
from segduet.workflows.models import ModelFolder
from segduet.workflows.remembered_hashes import RememberedHashes

log = logging.getLogger(__name__)


def kept_formats(folder: ModelFolder, cache: ConversionCache) -> frozenset[RuntimeFormat]:
    """The formats that conversions of a model are kept in."""
    names = {format_: conversion_name(folder, format_, cache.hashes) for format_ in RuntimeFormat}
    return frozenset(f for f, name in names.items() if cache.find(name) is not None)


def get_or_convert(
    folder: ModelFolder,
    runtime: RuntimeFormat,
    cache: ConversionCache,
    say: Callable[[str], None],
) -> tuple[Bundle, tuple[str, ...]]:
    """The conversion of a model that is kept, or a new one where there is none.

    Args:
        folder: the model.
        runtime: what it is converted for.
        cache: where conversions are kept.
        say: told before and after a conversion.

    Returns:
        The conversion, and a warning where a damaged one was replaced.

    Raises:
        RequestError: PyTorch or the converter is not installed, or cannot convert this network.
        DataError: damaged weights.
        StorageError: the conversion could not be kept.
    """
    name = conversion_name(folder, runtime, cache.hashes)
    warnings: tuple[str, ...] = ()
    if found := cache.find(name):
        if kept := sound_bundle(found, cache.hashes):
            cache.hashes.save(found.parent)
            return kept, ()
        warnings = (f"the conversion in {found} was damaged and is made again",)
        log.warning("%s", warnings[0])
        cache.remove(found)
    say(f"converting: {folder.folder.name} for {runtime}, once")
    started = time.perf_counter()
    made = cache.make(name, lambda target: _convert(folder, runtime, target))
    say(f"converted: in {time.perf_counter() - started:.1f} s, kept in {made}")
    bundle = sound_bundle(made, cache.hashes)
    assert bundle is not None, made
    cache.hashes.save(made.parent)
    return bundle, warnings


def sound_bundle(conversion: Path, hashes: RememberedHashes) -> Bundle | None:
    """A kept folder as a bundle; None where a file is missing or has another hash.

    Args:
        conversion: the folder.
        hashes: spares reading files that did not change.
    """
    try:
        bundle = open_bundle_folder(conversion, verify=False)
        files = bundle.manifest.files
        damaged = [n for n, r in files.items() if hashes.sha256(conversion / n) != r.sha256]
    except (DataError, OSError) as error:
        log.info("%s", error)
        return None
    return None if damaged else bundle


def _convert(folder: ModelFolder, runtime: RuntimeFormat, target: Path) -> None:
    from segduet.workflows.conversion import convert_model

    convert_model(folder, runtime, target)
