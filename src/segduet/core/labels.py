"""What the numbers in a label map mean, as plain labels (softmax) or nested regions (sigmoid)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from segduet.core.errors import DataError

BACKGROUND = "background"
IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScheme:
    """Names and values of a label map, as nnU-Net's dataset.json declares them.

    Attributes:
        labels: name -> values that belong to it, in declaration order, `background` first.
        regions_class_order: for regions, the value written where region i is predicted (later
            regions overwrite earlier ones); empty for plain labels.

    Source: nnU-Net documentation, region_based_training.md. Order of `labels` is semantic.
    """

    labels: tuple[tuple[str, tuple[int, ...]], ...]
    regions_class_order: tuple[int, ...] = ()

    @classmethod
    def from_dataset_json(
        cls, labels: Mapping[str, int | list[int]], order: list[int] | None, *, where: str
    ) -> Self:
        """Reads the `labels` and `regions_class_order` entries of a dataset.json.

        Raises:
            DataError: no background 0, values that are not consecutive, an order of another length
                than the regions, or regions without an order.
        """
        entries = tuple(
            (name, (int(v),) if isinstance(v, int) else tuple(int(i) for i in v))
            for name, v in labels.items()
        )
        scheme = cls(labels=entries, regions_class_order=tuple(order or ()))
        scheme._check(where)
        return scheme

    def _check(self, where: str) -> None:
        values = sorted({v for _, members in self.labels for v in members})
        if dict(self.labels).get(BACKGROUND) != (0,):
            raise DataError(
                where,
                found=f"labels {dict(self.labels)}",
                expected="'background' with value 0",
                remedy="Add it to dataset.json.",
            )
        members = [m for _, m in self.labels]
        if len(set(members)) != len(members):
            raise DataError(
                where,
                found=f"labels {dict(self.labels)}, of which two are the same",
                expected="a name for every value or region, once",
                remedy="Remove one of them from dataset.json.",
            )
        if values != list(range(len(values))):
            raise DataError(
                where,
                found=f"label values {values}",
                expected="consecutive integers from 0",
                remedy="Renumber the labels in the masks and in dataset.json.",
            )
        unknown = sorted(set(self.regions_class_order) - set(values))
        if unknown:
            raise DataError(
                where,
                found=f"regions_class_order with {unknown[0]}, which is no label",
                expected=f"values among {values}",
                remedy="Correct it in dataset.json.",
            )
        if self.has_regions and len(self.regions_class_order) != len(self.foreground):
            raise DataError(
                where,
                found=f"regions_class_order {self.regions_class_order or 'missing'}",
                expected=f"one value for each of {list(self.foreground)}",
                remedy="Add it to dataset.json, big regions first.",
            )

    @property
    def has_regions(self) -> bool:
        """Whether any label is made of several values, so that the network ends in sigmoids."""
        return any(len(members) > 1 for _, members in self.labels)

    @property
    def ignore_value(self) -> int | None:
        """The value of voxels nobody annotated, if the dataset declares one."""
        members = dict(self.labels).get(IGNORE)
        return members[0] if members else None

    @property
    def foreground(self) -> dict[str, tuple[int, ...]]:
        """Names and member values of everything that is neither background nor ignore.

        Order is that of the network's channels, as in nnU-Net: plain labels by value, regions as
        they are declared.
        """
        entries = [(name, m) for name, m in self.labels if name not in (BACKGROUND, IGNORE)]
        if not self.has_regions:
            entries.sort(key=lambda entry: entry[1])
        return dict(entries)

    @property
    def values(self) -> tuple[int, ...]:
        """Every value a label map may hold, ignore included, ascending."""
        return tuple(sorted({v for _, members in self.labels for v in members}))

    @property
    def num_segmentation_heads(self) -> int:
        """Channels of the network: regions without background, or plain labels with it."""
        return len(self.foreground) + (0 if self.has_regions else 1)

    def encode(self, label_map: np.ndarray) -> np.ndarray:
        """Label map (any shape) of integers -> (heads, *shape) bool; ignored voxels are False."""
        groups = list(self.foreground.values())
        if not self.has_regions:
            groups = [(0,), *groups]
        return np.stack([np.isin(label_map, members) for members in groups])

    def decode(self, logits: Iterable[np.ndarray]) -> np.ndarray:
        """Logits (heads, *shape), or their channels one by one -> label map (*shape) uint8.

        Regions: a voxel belongs to region i where its logit is > 0 (sigmoid > 0.5). Plain labels:
        the largest logit wins, the lower label on a tie. Channels are looked at one after the
        other, so they need not exist at once.
        """
        if not self.has_regions:
            return self._decode_plain(logits)
        label_map: np.ndarray | None = None
        for channel, value in zip(logits, self.regions_class_order, strict=True):
            if label_map is None:
                label_map = np.zeros(channel.shape, dtype=np.uint8)
            label_map[channel > 0] = value
        assert label_map is not None, "at least one region"
        return label_map

    def _decode_plain(self, logits: Iterable[np.ndarray]) -> np.ndarray:
        channels = iter(logits)
        best = np.array(next(channels))
        label_map = np.zeros(best.shape, dtype=np.uint8)
        for channel, members in zip(channels, self.foreground.values(), strict=True):
            # values ascend, so that the last label to take the lead is the largest
            leads = np.asarray(channel > best).view(np.uint8)
            np.maximum(label_map, leads * np.uint8(members[0]), out=label_map)
            np.maximum(best, channel, out=best)
        return label_map

    def mask(self, label_map: np.ndarray, name: str) -> np.ndarray:
        """Where the label map belongs to the foreground label or region: bool, same shape."""
        inside: np.ndarray = np.isin(label_map, self.foreground[name])
        return inside
