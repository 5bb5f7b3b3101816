"""Label maps that one stage of a cascade hands to the next, where nnU-Net keeps them (F14).

<model folder of the earlier stage>/predicted_next_stage/<later configuration>/CASE.b2nd
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from segduet.core.errors import DataError
from segduet.core.plan import ConfigurationPlan
from segduet.nnunet.compressed_arrays import Shape, open_array, write_array


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePredictions:
    """The earlier stage's answers, each by the fold that did not learn from the case.

    Attributes:
        folder: where they are.
        patch_zyx: of the later stage; the arrays are cut into chunks for it.
    """

    folder: Path
    patch_zyx: Shape

    @classmethod
    def of(cls, model_folder: Path, name: str, configuration: ConfigurationPlan) -> Self:
        """What the model in the folder hands to the configuration of this name."""
        folder = model_folder / "predicted_next_stage" / name
        return cls(folder=folder, patch_zyx=configuration.patch_size_zyx)

    def write(self, case: str, label_map: np.ndarray) -> None:
        """Writes one case atomically.

        Args:
            case: case id.
            label_map: (Z, Y, X) int16 on the later stage's prepared grid.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        write_array(self._file(case), label_map, self.patch_zyx)

    def remove(self, cases: Sequence[str]) -> None:
        """Deletes what there is of these cases."""
        for case in cases:
            self._file(case).unlink(missing_ok=True)

    def missing(self, cases: Sequence[str]) -> tuple[str, ...]:
        """Those of the cases that have no file, in their order."""
        return tuple(case for case in cases if not self._file(case).is_file())

    def open(self, case: str, shape: Shape) -> Any:
        """The label map (Z, Y, X) of a case, read when sliced.

        Args:
            case: case id.
            shape: of the prepared case.

        Raises:
            DataError: missing, damaged, or of another shape.
        """
        found = open_array(self._file(case), remedy="Train the stage before again.")
        if found.shape != shape:
            raise DataError(
                str(self._file(case)),
                found=f"a label map of shape {tuple(found.shape)}",
                expected=f"{shape}, the shape of the prepared case",
                remedy="Train the stage before again; the data were prepared anew since.",
            )
        return found

    def _file(self, case: str) -> Path:
        return self.folder / f"{case}.b2nd"
