"""STUDY.yaml: trainings that differ in recipe, arm, seed and fold, and what is done with them.

Every key, typed, with its default; unknown keys are refused with the nearest known one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    StringConstraints,
    field_validator,
    model_validator,
)

from segduet.core.description import validated
from segduet.core.errors import DataError, RequestError
from segduet.core.folders import DataRoot
from segduet.core.seeds import LARGEST_SEED
from segduet.scale.search_space import Search
from segduet.scale.unit import Resources
from segduet.training.recipe_keys import model_keys, refuse_unknown_key
from segduet.training.recipe_yaml import parse_yaml

BASELINE = "baseline"

_DEFAULT = Resources()

#: A part of file, job and model folder names.
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
#: Recipe keys with dots and their values, as after `--set`.
Overrides = dict[str, JsonValue]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ResourceSettings(_Section):
    """What one unit of a kind may use; engines reserve it, and `cpus` is its number of threads.

    Attributes:
        cpus: cores; a unit computes with as many threads, at least one.
        gpus: devices; a fraction shares one (Ray only).
        memory_gb: working memory.
        hours: time after which an engine may end it.
    """

    cpus: PositiveFloat = _DEFAULT.cpus
    gpus: NonNegativeFloat = _DEFAULT.gpus
    memory_gb: PositiveFloat = _DEFAULT.memory_gb
    hours: PositiveFloat = _DEFAULT.hours

    def resources(self) -> Resources:
        """The same as the noun."""
        return Resources(**self.model_dump())


class StudyResources(_Section):
    """Resources of the units of each kind."""

    train: ResourceSettings = ResourceSettings()
    predict: ResourceSettings = ResourceSettings()
    evaluate: ResourceSettings = ResourceSettings()


class TrainSettings(_Section):
    """Options of every training that are no part of a recipe; see `segduet train --help`."""

    device: str = "auto"
    workers: NonNegativeInt = 1
    pretrained: Path | None = None


class PredictSettings(_Section):
    """New cases that each trained model predicts, its folds together.

    Attributes:
        inputs: folder of images, or a list (.txt) or table (.csv) of them.
        shards: parts of the cases, a unit each.
        mode, tta, engine, device, cleanup: see `segduet predict --help`; null leaves a
            choice to the command.
    """

    inputs: Path
    shards: PositiveInt = 1
    mode: Literal["exact", "fast"] = "exact"
    tta: bool | None = None
    engine: Literal["auto", "torch", "openvino", "onnx", "tensorrt"] = "auto"
    device: str = "auto"
    cleanup: Path | None = None


class EvaluateSettings(_Section):
    """How the predictions are scored.

    Attributes:
        reference: a folder of references, or a dataset; null takes the study's dataset.
        split: score the cases of this split only.
    """

    reference: str | NonNegativeInt | None = None
    split: Literal["train", "val", "test"] | None = None


class Study(_Section):
    """Everything a study file says; paths in it start at the file's own folder.

    Attributes:
        name: first part of the model folders' names, and the default of `out`.
        dataset: name or number, planned and preprocessed.
        data_root: folder with nnU-Net's three folders.
        plans: plans name, where the dataset has several.
        configurations: such as `3d_fullres`.
        folds: numbers, or `all`.
        seeds: each gives every training once more, with another start and other samples.
        recipes: names of recipes, or recipe files.
        set: recipe settings of all trainings.
        arms: of an ablation, name -> what it changes; the baseline, which changes nothing, is
            always there beside them.
        train: options of all trainings.
        predict: what the trained models predict; null predicts nothing.
        evaluate: how that is scored; null scores nothing.
        search: which settings `segduet tune` tries; null tries none.
        resources: of the units of each kind.
        out: folder of state, logs, predictions and scores; null takes one called like the study.
    """

    name: Slug
    dataset: str | NonNegativeInt
    data_root: Path = Path("segduet-data")
    plans: str | None = None
    configurations: tuple[str, ...] = Field(default=("3d_fullres",), min_length=1)
    folds: tuple[NonNegativeInt | Literal["all"], ...] = Field(
        default=(0, 1, 2, 3, 4), min_length=1
    )
    seeds: tuple[Annotated[int, Field(ge=0, le=LARGEST_SEED)], ...] = Field(
        default=(0,), min_length=1
    )
    recipes: tuple[str, ...] = Field(default=("default",), min_length=1)
    set: Overrides = Field(default_factory=dict)
    arms: dict[Slug, Overrides] = Field(default_factory=dict)
    train: TrainSettings = TrainSettings()
    predict: PredictSettings | None = None
    evaluate: EvaluateSettings | None = None
    search: Search | None = None
    resources: StudyResources = StudyResources()
    out: Path | None = None
    _source: Path = PrivateAttr(default=Path("STUDY.yaml"))

    @classmethod
    def of(cls, content: Mapping[str, Any], source: Path) -> Self:
        """The study of a parsed file.

        Raises:
            DataError: an unknown key or a value of the wrong kind; the message names it.
        """
        try:
            study = validated(cls, content, where=str(source))
        except DataError as error:
            refuse_unknown_key(
                error,
                content,
                known=model_keys(cls),
                where=str(source),
                remedy="Correct or remove it; docs/guide/studies.md lists every key.",
            )
            raise
        study._source = source.absolute()
        return study

    @property
    def source(self) -> Path:
        """The file, absolute."""
        return self._source

    @property
    def out_folder(self) -> Path:
        """Where state, logs, predictions and scores lie."""
        return self.resolved(self.out or Path(self.name))

    @property
    def root(self) -> DataRoot:
        """Where datasets and models lie."""
        return DataRoot.resolve(self.resolved(self.data_root), {})

    @property
    def all_arms(self) -> Mapping[str, Overrides]:
        """Every arm with what it changes, the baseline first; the baseline alone without any."""
        return {BASELINE: {}, **self.arms}

    def resolved(self, path: Path | str) -> Path:
        """A path of the file, absolute."""
        return self.source.parent / path

    @field_validator("configurations", "folds", "seeds", "recipes")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) != len(values):
            raise ValueError("each of them once")
        return values

    @model_validator(mode="after")
    def _has_arms_that_differ(self) -> Self:
        if BASELINE in self.arms:
            raise ValueError(f"arms other than {BASELINE!r}, which is always there")
        idle = [name for name, overrides in self.arms.items() if not overrides]
        if idle:
            raise ValueError(f"arms that change something; {idle[0]!r} is the baseline again")
        return self

    @model_validator(mode="after")
    def _leaves_seeds_to_their_key(self) -> Self:
        if any("seed" in overrides for overrides in (self.set, *self.arms.values())):
            raise ValueError("the seeds under `seeds`, not under `set` or an arm")
        return self

    @model_validator(mode="after")
    def _evaluates_what_is_predicted(self) -> Self:
        if self.evaluate and not self.predict:
            raise ValueError("`predict` beside `evaluate`, which scores what it predicts")
        return self


def load_study(path: Path) -> Study:
    """Reads a study file.

    Raises:
        RequestError: no such file, or it is not a YAML mapping.
        DataError: an unknown key or a value of the wrong kind; the message names it.
    """
    path = Path(path)
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _no_study(path, " ".join(str(error).split())) from error
    if not isinstance(content, dict):
        raise _no_study(path, f"a {type(content).__name__}")
    return Study.of(content, path)


def _no_study(path: Path, found: str) -> RequestError:
    return RequestError(
        f"study {path}",
        found=found,
        expected="a YAML file of settings, one `key: value` per line",
        remedy="Correct the path or the file; see docs/guide/studies.md.",
    )
