"""Every layout by the name the command line knows it by."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from segduet.dataset.importers.msd import read_msd
from segduet.dataset.importers.nerve import read_nerve
from segduet.dataset.importers.nnunet import read_nnunet
from segduet.dataset.importers.options import ImportOptions
from segduet.dataset.importers.quiz import read_quiz
from segduet.dataset.importers.table import read_table
from segduet.dataset.source import SourceDataset

Importer = Callable[[Path, ImportOptions], SourceDataset]

IMPORTERS: Mapping[str, Importer] = MappingProxyType(
    {
        "quiz": read_quiz,
        "table": read_table,
        "msd": read_msd,
        "nerve": read_nerve,
        "nnunet": read_nnunet,
    }
)
