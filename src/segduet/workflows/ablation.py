"""`segduet ablate`: one switch at a time, with seeds, against the baseline (F87)."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segduet.core.errors import RequestError
from segduet.core.files import write_text
from segduet.core.manifest import RunManifest, utc
from segduet.evaluation.ablation import BySeed, merged, over_seeds, seed_figures
from segduet.evaluation.ablation_file import Ablation, AblationTable, ArmEntry
from segduet.evaluation.comparable import ComparedRun
from segduet.evaluation.comparison import compare_runs
from segduet.reporting.ablation_text import ablation_markdown
from segduet.scale.expansion import evaluate_unit_name, train_unit_name
from segduet.scale.local_runner import UnitReport
from segduet.scale.places import Places
from segduet.scale.study import BASELINE, Study, load_study
from segduet.scale.variants import Variant, variants
from segduet.training.recipe_files import load_recipe
from segduet.workflows.comparison import read_run
from segduet.workflows.studies import StudyRequest, run_study

ABLATION_FILE = "ablation.json"
ABLATION_TEXT = "ablation.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class AblateRequest:
    """Which study to run and compare.

    Attributes:
        study: a study file with arms.
        jobs: units at a time, > 0.
        retry_failed: run failed units again.
        seed: of resampling and exchanging.
    """

    study: Path
    jobs: int = 1
    retry_failed: bool = False
    seed: int = 0


def ablate(
    request: AblateRequest, on_change: Callable[[UnitReport, float], None] = lambda *_: None
) -> RunManifest:
    """Runs what is not done of a study, then compares its arms; a failed arm is shown as such.

    Writes `ablation/ablation.json`, a page of the same as `ablation.md`, and the manifest.

    Returns:
        The manifest; `outcome["ablation"]` is the content of ablation.json, `outcome["run"]` what
        became of the units.

    Raises:
        RequestError: no arms, or nothing that scores them; else as `run_study`.
        DataError: damaged scores.
    """
    started = time.time()
    study = load_study(request.study)
    _require_arms_and_scores(study)
    ran = run_study(
        StudyRequest(study=request.study, jobs=request.jobs, retry_failed=request.retry_failed),
        on_change,
    )
    ablation = _ablation(study, ran.outcome["units"], seed=request.seed)
    out = study.out_folder / "ablation"
    ablation.write(out / ABLATION_FILE)
    write_text(out / ABLATION_TEXT, ablation_markdown(ablation))
    manifest = RunManifest(
        command="ablate",
        arguments={"study": str(study.source), "jobs": request.jobs, "seed": request.seed},
        outcome={
            "folder": str(out),
            "run": ran.outcome,
            "ablation": ablation.model_dump(mode="json"),
        },
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(out)
    return manifest


def _require_arms_and_scores(study: Study) -> None:
    if not study.arms:
        raise RequestError(
            f"study {study.source}, arms",
            found="none",
            expected="arms to compare with the baseline, such as `plain: {averaging.kind: none}`",
            remedy="Name them, or run the study with `segduet run`.",
        )
    if study.evaluate is None:
        _require_validations(study)


def _require_validations(study: Study) -> None:
    if "all" in study.folds:
        raise RequestError(
            f"study {study.source}, folds",
            found="all, which keeps no case to judge the arms by",
            expected="numbered folds, or `predict` and `evaluate`",
            remedy="Choose folds, or say what is predicted and scored.",
        )
    for variant in variants(study):
        if not load_recipe(variant.recipe, variant.changes).validation.final:
            raise RequestError(
                f"study {study.source}, arms.{variant.arm}",
                found="validation.final false, and no `evaluate`",
                expected="scores to judge the arm by",
                remedy="Leave validation.final true, or say what is predicted and scored.",
            )


def _ablation(study: Study, units: Mapping[str, Any], *, seed: int) -> Ablation:
    places = Places.of(study)
    groups: dict[tuple[str, str], dict[str, list[Variant]]] = {}
    for variant in variants(study):
        arms = groups.setdefault((variant.recipe_label, variant.configuration), {})
        arms.setdefault(variant.arm, []).append(variant)
    return Ablation(
        study=study.name,
        seeds=study.seeds,
        folds=study.folds,
        judged_by="evaluation" if study.evaluate else "validation",
        tables=tuple(
            _table(places, names, arms, units, seed=seed) for names, arms in groups.items()
        ),
    )


def _table(
    places: Places,
    names: tuple[str, str],
    arms: Mapping[str, Sequence[Variant]],
    units: Mapping[str, Any],
    *,
    seed: int,
) -> AblationTable:
    entries = [_entry(places, arm, members, units) for arm, members in arms.items()]
    scores = {
        entry.name: {member.seed: _scores(places, member) for member in arms[entry.name]}
        for entry in entries
        if entry.status == "done"
    }
    comparison, reason = None, _why_incomparable(scores)
    if not reason:
        comparison = compare_runs([over_seeds(runs) for runs in scores.values()], seed=seed)
    return AblationTable(
        recipe=names[0],
        configuration=names[1],
        arms=tuple(entries),
        comparison=comparison,
        reason=reason,
        by_seed=tuple(seed_figures(scores, comparison.rows)) if comparison else (),
    )


def _why_incomparable(scores: Mapping[str, BySeed]) -> str:
    if BASELINE not in scores:
        return "the baseline failed, so there is nothing to compare with"
    return "" if len(scores) > 1 else "every arm but the baseline failed"


def _entry(
    places: Places, arm: str, members: Sequence[Variant], units: Mapping[str, Any]
) -> ArmEntry:
    names = [name for member in members for name in _unit_names(places.study, member)]
    lost = [name for name in names if units[name]["status"] != "done"]
    lost.sort(key=lambda name: units[name]["status"] != "failed")  # causes before consequences
    return ArmEntry(
        name=arm,
        changes=dict(places.study.all_arms[arm]),
        status="failed" if lost else "done",
        reason=f"{lost[0]}: {units[lost[0]]['reason']}" if lost else "",
        folders=tuple(str(f) for member in members for f in _folders(places, member)),
    )


def _unit_names(study: Study, variant: Variant) -> list[str]:
    names = [train_unit_name(variant, fold) for fold in study.folds]
    return [*names, evaluate_unit_name(variant)] if study.evaluate else names


def _folders(places: Places, variant: Variant) -> list[Path]:
    if places.study.evaluate:
        return [places.evaluation(variant)]
    return [places.validation(variant, fold) for fold in places.study.folds]


def _scores(places: Places, variant: Variant) -> ComparedRun:
    parts = [read_run(folder, variant.arm) for folder in _folders(places, variant)]
    return merged(variant.arm, parts)
