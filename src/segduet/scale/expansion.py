"""A study as its work units, always the same ones in the same order (B22)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from segduet.core.errors import RequestError
from segduet.scale.graph import check_graph
from segduet.scale.places import (
    ANSWERS,
    CHECKPOINT,
    MANIFEST,
    MODEL_FILE,
    PROGRESS,
    SCORES,
    SUMMARY,
    Places,
)
from segduet.scale.study import EvaluateSettings, PredictSettings, ResourceSettings, Study
from segduet.scale.unit import WorkUnit
from segduet.scale.variants import Variant, variants


def expand(study: Study) -> tuple[WorkUnit, ...]:
    """Every unit of the study: trainings first, then predictions, then evaluations.

    Raises:
        RequestError: no such dataset, plan, configuration, fold or recipe, settings that a recipe
            cannot take, or units that cannot stand side by side (see `check_graph`).
        DataError: a damaged file of the dataset.
    """
    places, models = Places.of(study), variants(study)
    units = [_train(places, model, fold) for model in models for fold in study.folds]
    if study.predict:
        units += [u for model in models for u in _predictions(places, model, study.predict)]
    if study.evaluate:
        units += [_evaluate(places, model, study.evaluate) for model in models]
    check_graph(units, where=f"study {study.source}")
    return tuple(units)


def train_unit_name(variant: Variant, fold: int | str) -> str:
    """Name of the training of one fold."""
    return f"train-{variant.name}-f{fold}"


def evaluate_unit_name(variant: Variant) -> str:
    """Name of what scores a model's predictions."""
    return f"evaluate-{variant.name}"


def _train(places: Places, variant: Variant, fold: int | str) -> WorkUnit:
    study, folder = places.study, places.fold(variant, fold)
    settings = study.train
    command = [
        *("train", places.folders.name, "--configuration", variant.configuration),
        *("--fold", str(fold), "--recipe", variant.recipe),
        *("--name", places.trainer(variant), "--plans", places.plan.plans_name),
        *("--data-root", str(study.resolved(study.data_root))),
        *("--device", settings.device, "--workers", str(settings.workers)),
    ]
    command += [word for change in variant.changes for word in ("--set", change)]
    files = [path for path in (Path(variant.recipe),) if path.is_absolute()]
    if settings.pretrained:
        files.append(study.resolved(settings.pretrained))
        command += ["--pretrained", str(files[-1])]
    return WorkUnit(
        name=train_unit_name(variant, fold),
        command=tuple(command),
        inputs=(*places.training_inputs, places.prepared(variant), *files),
        outputs=(folder / MODEL_FILE, folder / MANIFEST),
        resumes_from=folder / CHECKPOINT,
        free_options=("--device", "--workers"),
        restart_options=("--overwrite",),
        resources=study.resources.train.resources(),
    )


def _predictions(places: Places, variant: Variant, settings: PredictSettings) -> Iterator[WorkUnit]:
    """The prediction of a model's cases, or its shards and then what puts them together."""
    whole = _prediction(places, variant, settings)
    if settings.shards == 1:
        yield replace(whole, resumes_from=places.predictions(variant) / PROGRESS)
        return
    shards = [_shard(whole, n, settings.shards) for n in range(1, settings.shards + 1)]
    yield from shards
    yield replace(
        whole,
        command=(*whole.command, "--resume"),
        needs=tuple(shard.name for shard in shards),
        inputs=(*whole.inputs, *(path for shard in shards for path in shard.outputs)),
    )


def _prediction(places: Places, variant: Variant, settings: PredictSettings) -> WorkUnit:
    study, out = places.study, places.predictions(variant)
    inputs, folds = study.resolved(settings.inputs), [str(fold) for fold in study.folds]
    files = [inputs, *([study.resolved(settings.cleanup)] if settings.cleanup else [])]
    return WorkUnit(
        name=f"predict-{variant.name}",
        command=(
            *("predict", str(places.model(variant)), str(inputs), "--out", str(out)),
            *("--folds", ",".join(folds), *_prediction_options(study, settings)),
        ),
        needs=tuple(train_unit_name(variant, fold) for fold in study.folds),
        inputs=(*files, *(places.fold(variant, fold) / MODEL_FILE for fold in folds)),
        outputs=(out / ANSWERS, out / MANIFEST),
        free_options=("--threads",),
        resources=study.resources.predict.resources(),
    )


def _shard(whole: WorkUnit, number: int, count: int) -> WorkUnit:
    """One share of a prediction's cases, with files of its own in the same folder."""
    out, suffix = whole.outputs[0].parent, f"-{number}-of-{count}"
    progress = out / Path(PROGRESS).with_stem(Path(PROGRESS).stem + suffix)
    return replace(
        whole,
        name=f"{whole.name}-p{number}",
        command=(*whole.command, "--shard", f"{number}/{count}"),
        outputs=(progress, out / Path(MANIFEST).with_stem(Path(MANIFEST).stem + suffix)),
        resumes_from=progress,
    )


def _prediction_options(study: Study, settings: PredictSettings) -> Iterator[str]:
    yield from ("--mode", settings.mode, "--engine", settings.engine, "--device", settings.device)
    if settings.tta is not None:
        yield "--tta" if settings.tta else "--no-tta"
    yield from ("--threads", str(_whole_cores(study.resources.predict)))
    if settings.cleanup:
        yield from ("--cleanup", str(study.resolved(settings.cleanup)))


def _evaluate(places: Places, variant: Variant, settings: EvaluateSettings) -> WorkUnit:
    study, out, predictions = (
        places.study,
        places.evaluation(variant),
        places.predictions(variant),
    )
    reference, files = _reference(places, settings)
    return WorkUnit(
        name=evaluate_unit_name(variant),
        command=(
            *("evaluate", "--reference", reference),
            *("--predictions", str(predictions), "--out", str(out)),
            *(("--split", settings.split) if settings.split else ()),
            *("--data-root", str(study.resolved(study.data_root))),
            *("--workers", str(_whole_cores(study.resources.evaluate))),
        ),
        needs=(f"predict-{variant.name}",),
        inputs=(*files, predictions / ANSWERS),
        outputs=(out / SCORES, out / SUMMARY, out / MANIFEST),
        resources=study.resources.evaluate.resources(),
    )


def _reference(places: Places, settings: EvaluateSettings) -> tuple[str, tuple[Path, ...]]:
    """What predictions are scored against as `segduet evaluate` takes it, and its tables.

    Raises:
        RequestError: neither a folder with a dataset.json nor a dataset.
    """
    given = settings.reference
    name = places.folders.name if given is None else str(given)
    folder = places.study.resolved(name)
    if (folder / "dataset.json").is_file():
        return str(folder), (folder / "dataset.json", folder / "cases.csv")
    try:
        dataset = places.study.root.dataset(name)
    except RequestError as error:
        raise RequestError(
            f"study {places.study.source}, evaluate.reference: {error.where}",
            found=f"no {folder / 'dataset.json'}, and {error.found}",
            expected="a folder with dataset.json, cases.csv and masks, or a dataset",
            remedy="Correct it, or leave it out to score against the study's dataset.",
        ) from error
    return dataset.name, (dataset.raw / "dataset.json", dataset.raw / "cases.csv")


def _whole_cores(settings: ResourceSettings) -> int:
    return max(1, int(settings.cpus))
