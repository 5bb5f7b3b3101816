"""`segduet demo`: the whole road on phantoms, on a CPU, in minutes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segduet.core.errors import RequestError
from segduet.core.folders import DataRoot
from segduet.core.manifest import RunManifest, utc
from segduet.dataset.phantoms.layouts import write_nerve_folders, write_pancreas_quiz
from segduet.dataset.phantoms.parameters import PancreasPhantomConfig
from segduet.dataset.phantoms.ultrasound import NerveUltrasoundConfig
from segduet.training.recipe_files import load_recipe
from segduet.workflows.advising import advise
from segduet.workflows.checking import check
from segduet.workflows.evaluation import EvaluateRequest, evaluate
from segduet.workflows.importing import ImportRequest, import_dataset
from segduet.workflows.load_request import LoadRequest
from segduet.workflows.planned_dataset import PlannedDataset
from segduet.workflows.prediction import predict
from segduet.workflows.prediction_request import PredictRequest
from segduet.workflows.preparing import PlanRequest, plan, preprocess
from segduet.workflows.reference_dataset import ReferenceDataset
from segduet.workflows.reporting import ReportOptions, report
from segduet.workflows.train_request import TrainRequest
from segduet.workflows.training import train

#: Shows one line and the share done of the current stage.
Show = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRequest:
    """What to demonstrate.

    Attributes:
        out: folder for data, model, answers and report; must not exist or be empty.
        is_ultrasound: 2D nerve phantoms instead of 3D pancreas phantoms.
        seed: of data and training.
        workers: processes for everything but training.
    """

    out: Path
    is_ultrasound: bool = False
    seed: int = 0
    workers: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scenario:
    """What differs between the two demonstrations."""

    layout: str
    name: str
    configuration: str
    recipe: str
    num_folds: int | None
    targets: str | None


_CT = _Scenario(
    layout="quiz",
    name="Dataset501_pancreas_phantoms",
    configuration="3d_fullres",
    recipe="demo",
    num_folds=None,
    targets="demo",
)
_ULTRASOUND = _Scenario(
    layout="nerve",
    name="Dataset502_nerve_phantoms",
    configuration="2d",
    recipe="demo-ultrasound",
    num_folds=5,
    targets=None,
)


def demo(request: DemoRequest, show: Show = lambda _text, _share: None) -> RunManifest:
    """Phantoms -> import -> check -> plan -> preprocess -> train -> predict -> evaluate -> report.

    The cases that are scored have no part in the training, nor in the choice of anything.

    Returns:
        The manifest; its outcome holds the summary and where everything lies.

    Raises:
        RequestError: the folder is not empty.
        StorageError: something could not be written.
    """
    started = time.time()
    if request.out.exists() and not _is_empty_folder(request.out):
        raise RequestError(
            str(request.out),
            found="a file, or a folder that is not empty",
            expected="a new folder for the demonstration",
            remedy="Choose another with --out, or remove it.",
        )
    scenario = _ULTRASOUND if request.is_ultrasound else _CT
    root = DataRoot.resolve(request.out / "segduet-data", {})
    _prepare(root, request, scenario, show)
    run_folder = _train(root, request, scenario, show)
    summary = _predict_and_evaluate(root, request, scenario, run_folder, show)
    page = request.out / "report.html"
    show("report: writing the page", 0.0)
    _report(root, request, scenario, run_folder, page)
    show("report: done", 1.0)
    manifest = RunManifest(
        command="demo",
        arguments={"seed": request.seed, "ultrasound": request.is_ultrasound},
        outcome={"summary": summary, "run_folder": str(run_folder), "report": str(page)},
        started=utc(started),
        seconds=time.time() - started,
    )
    manifest.write(request.out)
    return manifest


def _report(
    root: DataRoot, request: DemoRequest, scenario: _Scenario, run_folder: Path, page: Path
) -> None:
    """The page, with advice on metrics and the worst cases in its viewer."""
    advice = request.out / "advice"
    advise(root, scenario.name, out=advice, workers=request.workers)
    sources = [run_folder, request.out / "evaluation", advice]
    report(root, sources, page, ReportOptions(viewer="worst:3"))


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _prepare(root: DataRoot, request: DemoRequest, scenario: _Scenario, show: Show) -> None:
    show("phantoms: drawing patients", 0.0)
    source = request.out / "phantoms"
    _write_phantoms(source, request)
    show("import: nnU-Net raw dataset and case table", 0.0)
    import_dataset(
        root,
        ImportRequest(
            layout=scenario.layout, source=source, name=scenario.name, workers=request.workers
        ),
    )
    show("check: every file", 0.0)
    findings = check(root, scenario.name, workers=request.workers).outcome["findings"]
    faults = sum(finding["severity"] != "note" for finding in findings)
    show(f"check: {faults} findings", 1.0)
    show("plan: fingerprint and network", 0.0)
    plan(
        root,
        PlanRequest(
            dataset=scenario.name,
            planner="small",
            num_folds=scenario.num_folds,
            seed=request.seed,
            hold_out_validation=True,
            workers=request.workers,
        ),
    )
    preprocess(
        root,
        scenario.name,
        scenario.configuration,
        workers=request.workers,
        on_case=lambda done, total, case: show(f"preprocess: {case}", done / total),
    )


def _write_phantoms(source: Path, request: DemoRequest) -> None:
    if request.is_ultrasound:
        write_nerve_folders(
            source,
            NerveUltrasoundConfig.demo(),
            num_patients=30,
            images_per_patient=6,
            seed=request.seed,
            workers=request.workers,
        )
        return
    write_pancreas_quiz(
        source,
        PancreasPhantomConfig.demo(),
        counts={"train": (24, 40, 32), "validation": (10, 10, 10)},
        num_test=0,
        seed=request.seed,
        workers=request.workers,
    )


def _train(root: DataRoot, request: DemoRequest, scenario: _Scenario, show: Show) -> Path:
    manifest = train(
        root,
        TrainRequest(
            dataset=scenario.name,
            configuration=scenario.configuration,
            fold="0",
            recipe=load_recipe(scenario.recipe, [f"seed={request.seed}"]),
            device="cpu",
        ),
        lambda standing: show(standing.line, standing.share),
    )
    return Path(manifest.outcome["run_folder"])


def _predict_and_evaluate(
    root: DataRoot, request: DemoRequest, scenario: _Scenario, run_folder: Path, show: Show
) -> dict[str, object]:
    unseen = PlannedDataset.open(root, scenario.name).fold("0").val
    images = ReferenceDataset.open(root, scenario.name).image_files()
    predictions = request.out / "predictions"
    predict(
        PredictRequest(
            loading=LoadRequest(model=run_folder, device="cpu", mirrored=False),
            inputs=[path for case in unseen for path in images[case]],
            out=predictions,
        ),
        lambda done, total, case: show(f"predict: {case}", done / total),
    )
    show("evaluate: scores and intervals", 0.0)
    manifest = evaluate(
        root,
        EvaluateRequest(
            reference=scenario.name,
            predictions=predictions,
            out=request.out / "evaluation",
            fold="0",
            targets=scenario.targets,
            workers=request.workers,
        ),
    )
    return dict(manifest.outcome)
