"""Every sentence a document can take from the record, by the name a checklist asks for it with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from segduet.reporting.documents import data_facts, method_facts, record_facts, result_facts
from segduet.reporting.documents.evidence import Evidence
from segduet.reporting.wording import NOT_MEASURED


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One sentence and where it comes from.

    Attributes:
        tell: the sentence; None where its artefact is absent.
        source: the artefact it is read from.
    """

    tell: Callable[[Evidence], str | None]
    source: str


def _facts(source: str, *tellers: Callable[[Evidence], str | None]) -> dict[str, Fact]:
    return {tell.__name__: Fact(tell=tell, source=source) for tell in tellers}


FACTS: Mapping[str, Fact] = {
    **_facts(
        "run.json",
        method_facts.technology,
        method_facts.model,
        method_facts.parameters,
        method_facts.initialization,
        method_facts.schedule,
        method_facts.batch,
        method_facts.optimizer,
        method_facts.losses,
        method_facts.sampling,
        method_facts.imbalance,
        method_facts.stopping,
        method_facts.selection,
        method_facts.software,
        method_facts.hardware,
        method_facts.training_time,
        data_facts.case_counts,
        data_facts.partition,
        data_facts.disjointness,
    ),
    **_facts("model.safetensors", method_facts.network_table, record_facts.model_file),
    **_facts(
        "plans.json",
        method_facts.patch,
        data_facts.preprocessing,
        data_facts.cropping,
        data_facts.resampling,
        data_facts.normalization,
    ),
    **_facts(
        "dataset.json",
        method_facts.tasks,
        method_facts.decision,
        data_facts.data_source,
        data_facts.image_channels,
    ),
    **_facts("cases.csv", data_facts.class_counts, data_facts.sites, data_facts.missing),
    **_facts(
        "summary.json of an evaluation",
        result_facts.evaluated_cases,
        result_facts.evaluation_source,
        result_facts.metrics,
        result_facts.uncertainty,
        result_facts.performance,
        result_facts.spread,
        result_facts.class_performance,
        result_facts.calibration,
        result_facts.baselines,
        result_facts.subgroups,
        result_facts.targets,
        result_facts.failures,
        result_facts.limitations,
        result_facts.next_actions,
    ),
    **_facts(
        "manifest.json beside the predictions",
        record_facts.ensembling,
        record_facts.inference,
        record_facts.postprocessing,
    ),
    **_facts("predictions.csv of the predictions", record_facts.runtime),
    **_facts("manifest.json of the run", record_facts.records, record_facts.reproduction),
}


def told(evidence: Evidence, name: str) -> str:
    """The sentence of this name, or "not measured" with the artefact that is absent."""
    fact = FACTS[name]
    return fact.tell(evidence) or f"{NOT_MEASURED} (nothing in {fact.source})"
