"""`segduet tune`: a search among settings of a recipe, on the training side of the split (F60)."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segduet.core.errors import RequestError
from segduet.core.files import write_json, write_text
from segduet.core.manifest import RunManifest, utc
from segduet.reporting.tuning_text import tuning_text
from segduet.scale.claims import HEARTBEAT_S, Claim, holder, try_claim
from segduet.scale.process import SEGDUET
from segduet.scale.search_space import DIRECTIONS, Search, front
from segduet.scale.study import Study, load_study
from segduet.scale.variants import variants
from segduet.scale.watched_unit import RunUnit, run_watched
from segduet.training.recipe_files import load_recipe
from segduet.workflows.studies import ended_like_interrupted
from segduet.workflows.submitting import ClusterChoice, connected_ray, require_engine

if TYPE_CHECKING:
    from segduet.scale.trials import TrialRecord, Trials
    from segduet.workflows.trial import TrialRunner

TABLE, TEXT = "tuning.json", "tuning.md"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneRequest:
    """What to search, and how.

    Attributes:
        study: a study file with `search`.
        jobs: trials at a time.
        cluster: Ray cluster that runs them; None runs them here.
        launcher: program that takes the units' arguments.
    """

    study: Path
    jobs: int = 1
    cluster: ClusterChoice | None = None
    launcher: Sequence[str] = SEGDUET


def tune(
    request: TuneRequest,
    on_trial: Callable[["TrialRecord", float], None] = lambda *_: None,
) -> RunManifest:
    """Tries settings until the search has had its trials; goes on where an earlier call stopped.

    A trial trains every fold of the study and is scored on the folds' validation cases, which are
    training patients. Where time counts, it also predicts the study's `predict.inputs`, unscored.

    Args:
        request: the search.
        on_trial: told how a trial ended, and the share of the trials that have.

    Returns:
        The manifest; its outcome is the content of tuning.json.

    Raises:
        RequestError: no search, Optuna is not installed, another process runs the same search, it
            was begun with other settings, or settings that the recipe cannot take.
        DataError: an entry of the study, or a file of the dataset, is not what it should be.
        KeyboardInterrupt: interrupted or asked to end; trials that ran go on next time.
    """
    require_engine("optuna")
    from segduet.scale.trials import Trials
    from segduet.workflows.trial import TrialRunner

    started = time.time()
    study = load_study(request.study)
    search = _checked_search(study)
    with (
        _alone(study) as claim,
        _running_on(request.cluster) as run_unit,
        ended_like_interrupted(),
    ):
        runner = TrialRunner(
            study=study,
            search=search,
            is_stopped=threading.Event(),
            run_unit=run_unit,
            launcher=request.launcher,
        )
        trials = Trials(study.out_folder / "search.journal", search)
        pool = _Pool(trials=trials, runner=runner, claim=claim, on_trial=on_trial)
        pool.run(request.jobs)
    outcome = _outcome(study, search, trials.ended())
    write_json(study.out_folder / TABLE, outcome)
    write_text(study.out_folder / TEXT, tuning_text(outcome))
    manifest = RunManifest(
        command="tune",
        arguments={
            "study": str(study.source),
            "jobs": request.jobs,
            "cluster": asdict(request.cluster) if request.cluster else None,
        },
        outcome=outcome,
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(study.out_folder)
    return manifest


@contextmanager
def _running_on(cluster: ClusterChoice | None) -> Iterator[RunUnit]:
    """What runs a trial's unit: here, or on a cluster for as long as it is needed."""
    if cluster is None:
        yield run_watched
        return
    with connected_ray(cluster):
        from segduet.scale.ray_runner import run_watched_on_ray

        yield run_watched_on_ray


@dataclass(slots=True, kw_only=True)
class _Pool:
    """Keeps some trials running; only this thread touches the journal."""

    trials: "Trials"
    runner: "TrialRunner"
    claim: Claim
    on_trial: Callable[["TrialRecord", float], None]

    def run(self, jobs: int) -> None:
        upcoming = self._upcoming()
        with ThreadPoolExecutor(jobs, thread_name_prefix="segduet-trial") as threads:
            running: set[Future[TrialRecord]] = set()
            try:
                while True:
                    while len(running) < jobs and (trial := next(upcoming, None)):
                        others = [record.curve for record in self.trials.ended()]
                        running.add(threads.submit(self.runner.run, *trial, others))
                    if not running:
                        return
                    running = self._collect(running)
            except BaseException:
                self.runner.is_stopped.set()
                raise

    def _upcoming(self) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from self.trials.left_open()
        while (trial := self.trials.begin()) is not None:
            yield trial

    def _collect(self, running: "set[Future[TrialRecord]]") -> "set[Future[TrialRecord]]":
        ended, others = wait(running, HEARTBEAT_S, FIRST_COMPLETED)
        self.claim.keep_alive()
        for each in ended:
            record = each.result()
            self.trials.end(record)
            self.on_trial(record, len(self.trials.ended()) / self.trials.num_planned)
        return others


def _checked_search(study: Study) -> Search:
    """The study's search, with every end and choice tried on the recipe.

    Raises:
        RequestError: no search, several models, or what the recipe cannot take.
    """
    from segduet.workflows.trial import TIME, trial_study

    if study.search is None:
        raise _unfit(study, "no `search`", "a section that says what is tried")
    _require_one_model(study)
    if TIME in study.search.objectives and study.predict is None:
        raise _unfit(study, f"{TIME} without `predict`", "`predict.inputs`, the cases to time")
    for changes in study.search.examples():
        (variant,) = variants(trial_study(study, 0, changes))
        recipe = load_recipe(variant.recipe, variant.changes)
        if not recipe.validation.final:
            raise _unfit(study, "validation.final false", "trials that are measured at their end")
        pruner = study.search.pruner
        if pruner and pruner.watch == "joint_score" and not recipe.validation.full_cases_every:
            raise _unfit(study, "a pruner of joint_score", "validation.full_cases_every above 0")
        if pruner and pruner.watch == "patch_dice" and not recipe.validation.patches_per_epoch:
            raise _unfit(study, "a pruner of patch_dice", "validation.patches_per_epoch above 0")
    return study.search


def _require_one_model(study: Study) -> None:
    many = {
        "recipes": study.recipes,
        "configurations": study.configurations,
        "seeds": study.seeds,
        "arms": study.all_arms,
    }
    several = [key for key, values in many.items() if len(values) > 1]
    if several:
        raise _unfit(
            study, f"several {several[0]}", f"one of the {several[0]}; a trial is one model"
        )
    if "all" in study.folds:
        raise _unfit(study, "fold all", "folds with validation cases")


def _unfit(study: Study, found: str, expected: str) -> RequestError:
    return RequestError(
        f"study {study.source}, search",
        found=found,
        expected=expected,
        remedy="Correct the study; docs/guide/engines_of_scale.md shows one with a search.",
    )


@contextmanager
def _alone(study: Study) -> Iterator[Claim]:
    """The only process that runs this search.

    Raises:
        RequestError: another one does.
    """
    folder, name = study.out_folder / "units", "search"
    claim = try_claim(folder, name)
    if claim is None:
        raise RequestError(
            f"study {study.source}",
            found=f"that {holder(folder, name)} runs this search",
            expected="one process; it can run several trials at a time",
            remedy="Wait for it, or end it and start with more --jobs.",
        )
    try:
        yield claim
    finally:
        claim.release()


def _outcome(study: Study, search: Search, records: Sequence["TrialRecord"]) -> dict[str, Any]:
    """Content of tuning.json."""
    values = {record.number: record.values for record in records if record.state == "complete"}
    counts = Counter(record.state for record in records)
    return {
        "schema_version": SCHEMA_VERSION,
        "study": study.name,
        "out": str(study.out_folder),
        "recipe": study.recipes[0],
        "folds": list(study.folds),
        "objectives": {name: DIRECTIONS[name] for name in search.objectives},
        "sampler": search.sampler,
        "selected_from": counts["complete"] + counts["pruned"],
        "counts": {state: counts[state] for state in ("complete", "pruned", "failed")},
        "front": front(values, search.objectives),
        "trials": [
            {
                "number": record.number,
                "state": record.state,
                "changes": record.changes,
                "values": dict(zip(search.objectives, record.values, strict=False)),
                "epochs_watched": len(record.curve),
                "reason": record.reason,
            }
            for record in records
        ],
    }
