"""Several models in memory that answer together, cases one after the other (F77)."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segduet.core.description import DatasetDescription
from segduet.core.errors import RequestError
from segduet.core.prediction import Prediction
from segduet.core.volume import Volume
from segduet.inference.ensembles import EnsembleRule, ModelOnCase, predict_together
from segduet.inference.window_pass import window_passes
from segduet.preparation.cascade import with_previous_stage
from segduet.preparation.prepare import prepare_case
from segduet.workflows.load_request import LoadRequest
from segduet.workflows.loading import LoadedModel, find_model
from segduet.workflows.models import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedEnsemble:
    """Models that answer the same questions, with their networks in memory.

    Attributes:
        models: as from `load_models`; each counts the same, however many folds it has.
        rule: how their probabilities are averaged.
    """

    models: tuple[LoadedModel, ...]
    rule: EnsembleRule

    def predict(self, volume: Volume, case: str = "case") -> Prediction:
        """Segments and classifies one image with all of them.

        Args:
            volume: (C, Z, Y, X) with its geometry.
            case: id in the answer and in messages.

        Raises:
            DataError: the image does not fit the models.
            RequestError: not enough memory, or plans that turn the image differently.
        """
        started = time.perf_counter()
        models = [_on_case(model, volume, case) for model in self.models]
        seconds = {"prepare": time.perf_counter() - started}
        first = self.models[0].model
        prediction = predict_together(
            models, labels=first.labels, tasks=first.tasks, rule=self.rule
        )
        return dataclasses.replace(prediction, seconds={**seconds, **prediction.seconds})


def load_models(
    requests: Sequence[LoadRequest],
    say: Callable[[str], None],
    *,
    num_cases: Callable[[DatasetDescription], int] = lambda _: 1,
) -> tuple[LoadedModel, ...]:
    """Loads models that answer the same questions about the same images.

    Args:
        requests: at least one; which models, run how.
        say: told what takes long, such as a conversion.
        num_cases: of the images that the first model takes, how many there are to answer; asked
            where several may be answered side by side, which all models do or none.

    Raises:
        RequestError: what `load_model` raises, or models with other labels, channels or tasks, or
            of which some segment and some do not.
        DataError: damaged weights.
    """
    found = [find_model(request) for request in requests]
    at_once = min(model.most_at_once for model in found)
    if at_once > 1:
        at_once = min(at_once, num_cases(found[0].description))
    models = tuple(model.load(say, at_once=at_once) for model in found)
    for other in models[1:]:
        _require_same_questions(models[0].model, other.model)
    return models


def _on_case(loaded: LoadedModel, volume: Volume, case: str) -> ModelOnCase:
    model = loaded.model
    prepared = prepare_case(
        volume, None, case=case, plan=model.plan, configuration=model.configuration
    )
    previous = loaded.fed_with(volume, case)
    if previous is not None:
        prepared = with_previous_stage(prepared, previous, model.labels)
    passes = window_passes(
        loaded.members,
        prepared,
        patch_zyx=model.configuration.patch_size_zyx,
        settings=loaded.settings,
    )
    return ModelOnCase(prepared=prepared, configuration=model.configuration, passes=passes)


def _require_same_questions(first: Model, other: Model) -> None:
    for name, own in _questions(other).items():
        wanted = _questions(first)[name]
        if own != wanted:
            raise RequestError(
                f"--also {other.source}",
                found=f"other {name}: {own}",
                expected=f"{wanted}, as of {first.source}",
                remedy="Ensemble models of one dataset.",
            )


def _questions(model: Model) -> dict[str, object]:
    """What models of one ensemble have in common."""
    description = model.description
    return {
        "labels": (dict(model.labels.labels), model.labels.regions_class_order),
        "channels": (description.channel_names, description.file_ending),
        "tasks": [(t.name, t.kind, t.classes, t.unit, t.evidence_region) for t in model.tasks],
        "answers": "masks" if model.segments else "classes alone",
    }
