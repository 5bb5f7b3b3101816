"""Fingerprint and plan of a dataset, by nnunetv2, without a look at the validation cases (F05)."""

import logging
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segduet.core.description import DatasetDescription
from segduet.core.errors import DataError, RequestError, SegduetError
from segduet.core.files import atomic_path, read_json, write_json
from segduet.core.folders import DataRoot, DatasetFolders
from segduet.core.plan import Plan, PlanSection
from segduet.nnunet.coarse_plan import with_coarse_configuration
from segduet.nnunet.environment import nnunet_environment
from segduet.nnunet.fingerprint import dataset_fingerprint
from segduet.nnunet.planners import Planner, find_planner
from segduet.nnunet.raw_cases import RawCase, raw_cases

log = logging.getLogger(__name__)

FINGERPRINT_FILE = "dataset_fingerprint.json"


def plan_dataset(
    folders: DatasetFolders,
    *,
    planner: str,
    memory_gb: float | None = None,
    fingerprint_cases: Sequence[str] | None = None,
    workers: int = 1,
    coarse: bool = False,
) -> Plan:
    """Plans a raw dataset and writes plans, fingerprint, dataset.json and cases.csv.

    nnunetv2 works in a scratch folder where dataset.json lists the chosen cases only, so no other
    case is opened, and the preprocessed folder receives finished files one by one. Planning again
    gives the same files; configurations that a user added to the plans JSON are kept.

    Args:
        folders: the dataset.
        planner: a key of `PLANNERS`.
        memory_gb: GPU memory to plan for; None takes the planner's own.
        fingerprint_cases: cases whose intensities, spacings and shapes are used (F05: the training
            cases); None takes every case that has a mask. Cases without a mask on purpose are
            left out: nnU-Net measures inside the foreground.
        workers: processes that read images.
        coarse: add a configuration that finds the region to look at, see
            `with_coarse_configuration`.

    Raises:
        RequestError: an unknown planner, a budget that is not positive, or images for which a
            coarse configuration makes no sense.
        DataError: dataset.json or an image is damaged, a chosen case has no mask, or none has one.
    """
    choice = find_planner(planner)
    if memory_gb is not None and not 0 < memory_gb < math.inf:
        raise RequestError(
            f"--memory-gb {memory_gb:g}",
            found="a budget that is no positive number",
            expected="gigabytes of GPU memory, such as 8",
            remedy="Leave the option out to use the planner's own.",
        )
    description = DatasetDescription.read(folders.raw / "dataset.json")
    cases = _chosen(raw_cases(folders, description), fingerprint_cases, where=folders.name)
    with tempfile.TemporaryDirectory(prefix="segduet-plan-") as scratch:
        made = _plan_in(
            Path(scratch), folders, description, cases, choice, memory_gb=memory_gb, workers=workers
        )
        if coarse:
            plans_file = made / f"{choice.plans_name}.json"
            write_json(plans_file, with_coarse_configuration(read_json(plans_file)))
        _publish(made, folders, description, choice.plans_name)
    return Plan.read(folders.plan_file(choice.plans_name))


def _chosen(
    available: Mapping[str, RawCase], wanted: Sequence[str] | None, *, where: str
) -> dict[str, RawCase]:
    with_mask = {case: files for case, files in available.items() if files.mask is not None}
    unlabelled = {case for case, files in available.items() if files.is_unlabelled}
    asked = set(with_mask if wanted is None else wanted) - unlabelled
    missing = sorted(asked - set(with_mask))
    if missing:
        raise DataError(
            where,
            found=f"no image with a mask for case {missing[0]!r} ({len(missing)} such cases)",
            expected="an image and a mask for every case the plan is made from",
            remedy="Run `segduet check`; leave the case out of the training split or add its mask.",
        )
    chosen = {case: with_mask[case] for case in sorted(asked)}
    if not chosen:
        raise DataError(
            where,
            found="no case to plan from",
            expected="at least one training case with a mask",
            remedy="Add masks, or correct the split.",
        )
    return chosen


def _plan_in(
    scratch: Path,
    folders: DatasetFolders,
    description: DatasetDescription,
    cases: Mapping[str, RawCase],
    planner: Planner,
    *,
    memory_gb: float | None,
    workers: int,
) -> Path:
    """Lets nnunetv2 plan in the scratch folder; returns the folder with what it wrote."""
    root = DataRoot(raw=scratch / "raw", preprocessed=scratch / "preprocessed", results=scratch)
    view = description.model_dump(by_alias=True, exclude_none=True, mode="json") | {
        "numTraining": len(cases),
        "dataset": {
            case: {
                "images": [str(p.resolve()) for p in files.images],
                "label": str(files.mask.resolve()) if files.mask else None,
            }
            for case, files in cases.items()
        },
    }
    write_json(root.raw / folders.name / "dataset.json", view)
    made = root.preprocessed / folders.name
    made.mkdir(parents=True)
    earlier = folders.plan_file(planner.plans_name)
    if earlier.is_file():
        shutil.copyfile(earlier, made / earlier.name)
    budget = memory_gb or planner.memory_gb
    try:
        with nnunet_environment(root):
            _run_nnunet(made, view, cases, planner, memory_gb=budget, workers=workers)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise SegduetError(
            f"planning {folders.name}",
            found=f"nnunetv2 stopped with: {str(error).strip() or type(error).__name__}",
            expected="a fingerprint and a plan",
            remedy="Run `segduet check` on the dataset; use fewer workers if memory ran out.",
        ) from error
    return made


def _run_nnunet(
    made: Path,
    view: Mapping[str, Any],
    cases: Mapping[str, RawCase],
    planner: Planner,
    *,
    memory_gb: float,
    workers: int,
) -> None:
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    example = str(next(iter(cases.values())).images[0])
    reader = determine_reader_writer_from_dataset_json(dict(view), example)
    fingerprint = dataset_fingerprint(cases, reader, workers=workers)
    write_json(made / FINGERPRINT_FILE, fingerprint)
    planner_class = planner.planner_class()
    planner_class(
        made.name, gpu_memory_target_in_gb=memory_gb, plans_name=planner.plans_name
    ).plan_experiment()


def _publish(
    made: Path, folders: DatasetFolders, description: DatasetDescription, plans_name: str
) -> None:
    """Moves what was made to its place, the plan last: where it is, all it needs is there too."""
    for source in (
        made / FINGERPRINT_FILE,
        folders.raw / "dataset.json",
        folders.raw / "cases.csv",
    ):
        if source.is_file():
            with atomic_path(folders.preprocessed / source.name) as temporary:
                shutil.copyfile(source, temporary)
    section = PlanSection(
        tasks=description.tasks,
        labels=description.labels,
        regions_class_order=description.regions_class_order,
    ).model_dump(mode="json")
    plan: dict[str, Any] = read_json(made / f"{plans_name}.json")
    write_json(folders.plan_file(plans_name), {**plan, "segduet": section})
    log.info("planned %s: %s", folders.name, ", ".join(plan["configurations"]))
