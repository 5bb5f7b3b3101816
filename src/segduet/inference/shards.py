"""Shares of a cohort that different processes predict."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from segduet.core.errors import RequestError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shard:
    """Every `count`-th case, beginning with the `index`-th; 1 <= index <= count."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `I/N`.

        Raises:
            RequestError: anything else.
        """
        found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
        if found is None or int(found[1]) > int(found[2]):
            raise RequestError(
                f"--shard {text}",
                found="no share of the cases",
                expected="I/N with I from 1 to N, such as 2/8",
                remedy="Number the shares from 1 to their count.",
            )
        return cls(int(found[1]), int(found[2]))

    @property
    def is_all(self) -> bool:
        """Whether this is the whole cohort."""
        return self.count == 1

    @property
    def suffix(self) -> str:
        """What tells a shard's files from those of others: `-2-of-8`; empty for the whole."""
        return "" if self.is_all else f"-{self.index}-of-{self.count}"

    def of(self, cases: Sequence[T]) -> Sequence[T]:
        """This share of the cases; over all shards every case occurs once."""
        return cases[self.index - 1 :: self.count]


ALL_CASES = Shard()
