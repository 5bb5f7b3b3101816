"""`search:` of a study file: which settings are tried, how many times, and what counts (F60)."""

from collections.abc import Mapping, Sequence
from itertools import product
from statistics import median
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

Objective = Literal["dsc", "macro_f1", "seconds_per_case"]
#: Of each objective, whether more is better.
DIRECTIONS: Mapping[Objective, Literal["maximize", "minimize"]] = {
    "dsc": "maximize",
    "macro_f1": "maximize",
    "seconds_per_case": "minimize",
}


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Range(_Section):
    """Numbers between two, both included; whole numbers where both ends are.

    Attributes:
        low: smallest.
        high: largest.
        log: spread the tries evenly over orders of magnitude, such as for a learning rate.
    """

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low below high")
        if self.log and self.low <= 0:
            raise ValueError("low above 0 for a logarithmic range")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether the numbers are whole."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class Choices(_Section):
    """Values of any kind that a recipe's setting can take."""

    choices: Annotated[tuple[Any, ...], Field(min_length=2)]


class MedianPruning(_Section):
    """Ends a trial whose best so far is below the median of the other trials' bests so far.

    Source: the median stopping rule of Golovin et al. 2017 (Google Vizier, KDD), section 3.2.1,
    with the other trials' bests in place of their running averages, as in Optuna.

    Attributes:
        watch: `patch_dice`, or `joint_score` of the full validation cases, which the recipe must
            then measure (`validation.full_cases_every`).
        after_epochs: no trial is ended before so many epochs of its first fold.
        after_trials: nor before so many other trials got as far.
    """

    watch: Literal["patch_dice", "joint_score"] = "patch_dice"
    after_epochs: PositiveInt = 5
    after_trials: PositiveInt = 4


class Search(_Section):
    """A search among settings of one recipe.

    Attributes:
        space: recipe keys with dots, each with a range or choices.
        trials: tries at most; a grid may be shorter.
        objectives: what counts: mean foreground DSC and mean macro-F1 of the tasks on the folds'
            validation cases, seconds for one of the study's `predict.inputs`. Several give a front,
            not a winner.
        sampler: `tpe` learns from earlier trials (Bergstra et al. 2011), `random` does not, `grid`
            tries every combination of choices, in their order.
        pruner: which trials are ended early; null ends none.
        seed: of the sampler.
    """

    space: Annotated[dict[str, Range | Choices], Field(min_length=1)]
    trials: PositiveInt
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1)] = ("dsc", "macro_f1")
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    pruner: MedianPruning | None = None
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _has_a_grid(self) -> Self:
        ranges = [key for key, values in self.space.items() if isinstance(values, Range)]
        if self.sampler == "grid" and ranges:
            raise ValueError(f"choices for {ranges[0]!r}, since a grid has no ranges")
        if len(set(self.objectives)) != len(self.objectives):
            raise ValueError("each objective once")
        return self

    def grid(self) -> list[dict[str, Any]]:
        """Every combination of choices, up to `trials`."""
        values = [v.choices for v in self.space.values() if isinstance(v, Choices)]
        combinations = [dict(zip(self.space, each, strict=True)) for each in product(*values)]
        return combinations[: self.trials]

    def examples(self) -> list[dict[str, Any]]:
        """Changes that between them hold every end and every choice, to be checked beforehand."""
        ends = {
            key: (v.low, v.high) if isinstance(v, Range) else v.choices
            for key, v in self.space.items()
        }
        first = {key: values[0] for key, values in ends.items()}
        return [{**first, key: value} for key, values in ends.items() for value in values]


def is_hopeless(
    curve: Sequence[float], others: Sequence[Sequence[float]], rule: MedianPruning
) -> bool:
    """Whether a trial is to be ended by the rule.

    Args:
        curve: what it watches, an entry for each epoch so far; more is better.
        others: curves of trials that have ended.
        rule: with its patience.
    """
    comparable = [other[: len(curve)] for other in others if len(other) >= len(curve)]
    if len(curve) < rule.after_epochs or len(comparable) < rule.after_trials:
        return False
    return max(curve) < median([max(other) for other in comparable])


def front(values: Mapping[int, Sequence[float]], objectives: Sequence[Objective]) -> list[int]:
    """Numbers of the trials that no other beats: as good in all objectives and better in one.

    Args:
        values: trial number -> a value for each objective.
        objectives: in the order of the values.
    """
    signs = [1 if DIRECTIONS[name] == "maximize" else -1 for name in objectives]
    gains = {n: [s * v for s, v in zip(signs, each, strict=True)] for n, each in values.items()}

    def is_beaten(number: int) -> bool:
        own = gains[number]
        return any(
            other != own and all(o >= v for o, v in zip(other, own, strict=True))
            for other in gains.values()
        )

    return [number for number in values if not is_beaten(number)]
