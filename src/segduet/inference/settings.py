"""How a case is predicted."""

from dataclasses import dataclass

from segduet.core.errors import RequestError
from segduet.inference.aggregation import Aggregation
from segduet.windows.tiles import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionSettings:
    """How a case is predicted; the defaults are nnU-Net's, without mirroring.

    Attributes:
        step: distance between windows as a share of the patch, in (0, 1].
        mirror_axes: spatial axes of the network to mirror along, as in an nnU-Net checkpoint; None
            and () both mean no mirroring.
        aggregation: how windows answer for their case.
        tile_batch: windows per engine call, at least 1.
        window_multiple: (z, y, x), the network's total stride: along axes on which a case is
            smaller than the patch, or little longer, windows are the smallest multiple of it that
            holds the case, see `windows.tiles.fitted_window`; None pads or tiles such cases.
        keep_attention: whether to keep where the heads look: a second pass through the network,
            as the weights depend on the whole case, and one more array per task.

    Raises:
        RequestError: step or tile_batch is out of range, or attention is asked for where every
            window attends by itself.
    """

    step: float = 0.5
    mirror_axes: tuple[int, ...] | None = ()
    aggregation: Aggregation = Aggregation.CASE
    tile_batch: int = 1
    window_multiple: Shape | None = None
    keep_attention: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.step <= 1 and self.tile_batch >= 1):
            raise RequestError(
                "prediction settings",
                found=f"step {self.step}, tile batch {self.tile_batch}",
                expected="a step above 0 and at most 1, a batch of at least 1",
                remedy="Correct the setting.",
            )
        if self.keep_attention and self.aggregation is not Aggregation.CASE:
            raise RequestError(
                "prediction settings",
                found=f"attention maps with the aggregation {self.aggregation}",
                expected="the aggregation case, where one answer attends to the whole case",
                remedy="Leave out one of the two.",
            )
