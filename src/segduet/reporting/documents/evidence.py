"""All that documents are written from; what is absent on disk is absent here and stays so."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segduet.core.description import DatasetDescription
from segduet.core.plan import ConfigurationPlan, Plan
from segduet.networks.module_record import NetworkSummary
from segduet.reporting.history import History, Series, read_series


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCount:
    """How many cases of a class were trained on and validated on."""

    task: str
    name: str
    train: int
    validation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """What the case table knows about a training's two sets of cases.

    Attributes:
        train_patients: patients of the training cases.
        validation_patients: patients of the validation cases.
        shared_patients: patients who are in both.
        sites: hospitals or scanners named in the table.
        classes: of every task with exclusive classes; cases without a label count nowhere.
        unlabelled: task name -> cases of either set without an answer to it.
    """

    train_patients: int
    validation_patients: int
    shared_patients: int
    sites: int
    classes: tuple[ClassCount, ...] = ()
    unlabelled: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The artefacts of one training, read; None or empty where there is none.

    Attributes:
        run: content of run.json; the only one that every document needs.
        history: lines of metrics.jsonl, with `selection/score` where weights were chosen by one.
        plan: plans.json beside the folds.
        description: dataset.json beside the folds.
        summary: summary.json of the evaluation, or else of the run's own validation.
        reference: dataset or folder the summary was measured against.
        evaluated: which of its cases, in words.
        training_manifest: manifest of the run's training.
        evaluation_manifest: manifest of the evaluation.
        prediction_manifest: of the command that made the predictions that were evaluated.
        case_seconds: time for each case of those predictions; empty where it is not recorded.
        cohort: counts from cases.csv of the raw dataset.
        network: the trained network as it ran on one window.
        model_sha256: hash of model.safetensors.
        files: names of the run's artefacts that exist.
    """

    run: Mapping[str, Any]
    history: History = ()
    plan: Plan | None = None
    description: DatasetDescription | None = None
    summary: Mapping[str, Any] | None = None
    reference: str = ""
    evaluated: str = ""
    training_manifest: Mapping[str, Any] | None = None
    evaluation_manifest: Mapping[str, Any] | None = None
    prediction_manifest: Mapping[str, Any] | None = None
    case_seconds: Sequence[float] = ()
    cohort: Cohort | None = None
    network: NetworkSummary | None = None
    model_sha256: str | None = None
    files: Sequence[str] = ()

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return str(self.run["dataset"])

    @property
    def series(self) -> dict[str, Series]:
        """Every recorded figure over the epochs."""
        return read_series(self.history)

    @property
    def configuration(self) -> ConfigurationPlan | None:
        """The plan's configuration the network was trained in."""
        return self.plan.configuration(self.run["configuration"]) if self.plan else None

    @property
    def date(self) -> str | None:
        """Day of the training, from its manifest."""
        started = (self.training_manifest or {}).get("started")
        return str(started)[:10] if started else None

    @property
    def selected_by(self) -> str | None:
        """The series the kept weights were chosen by; None where the last epoch was kept."""
        rule = self.run.get("selection_rule")
        return None if rule in (None, "last") else "selection/score"

    def setting(self, path: str) -> Any:
        """The entry of run.json at a path such as `recipe.optimizer.name`; None without it."""
        value: Any = self.run
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def figures(self, kind: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Subject (region or task), metric and figure of everything measured of a kind.

        Args:
            kind: `segmentation` or `classification`.
        """
        for subject, metrics in (self.summary or {}).get(kind, {}).items():
            for name, figure in metrics.items():
                if isinstance(figure, Mapping) and {"ci95", "n"} <= figure.keys():
                    yield subject, name, figure

    @property
    def selected_from(self) -> int | None:
        """Candidates the model was chosen from on the evaluated cases; None without a summary."""
        return self.summary.get("selected_from") if self.summary else None
