"""`segduet bench`: two ways to predict, timed in turn in fresh processes (F85, F86)."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from segduet.core.description import DatasetDescription
from segduet.core.errors import RequestError
from segduet.core.files import write_json, write_text
from segduet.core.manifest import RunManifest, utc
from segduet.evaluation.bench_figures import compare_samples, contamination, draw_verdict
from segduet.evaluation.bench_record import ArmRecord, BenchRecord, Design, Sample
from segduet.evaluation.output_agreement import Agreement
from segduet.evaluation.paired_timing import MIN_ROUNDS, ArmName
from segduet.inference.inputs import find_case_inputs
from segduet.reporting.benchmark_text import markdown
from segduet.workflows.bench_arms import Arm, ArmKind, parse_options, segduet_arm, stock_arm
from segduet.workflows.bench_environment import environment_stamp
from segduet.workflows.bench_session import BenchRequest, Session, staged_cases
from segduet.workflows.models import Checkpoints
from segduet.workflows.sources import OpenedBundle, OpenedFolder, open_source

RECORD_FILE, TEXT_FILE = "bench.json", "bench.md"
#: The first pass is the first case and what it warms up; the steady state needs one more.
MIN_PASSES = 2


def benchmark(
    request: BenchRequest, on_sample: Callable[[str, float], None] = lambda *_: None
) -> BenchRecord:
    """Runs the comparison and writes `bench.json`, `bench.md` and a manifest.

    Args:
        request: what to compare.
        on_sample: called with what is measured next and the share done.

    Raises:
        RequestError: too few rounds or passes, an option an arm does not have, nnunetv2 missing,
            or an arm that fails; its own last words are in the message.
        DataError: no cases, or a damaged model.
        StorageError: a result could not be written.
    """
    started = time.time()
    _check_numbers(request)
    arms = bench_arms(request)
    description = _description(request.model)
    cases = find_case_inputs(
        request.inputs[0] if len(request.inputs) == 1 else request.inputs,
        num_channels=description.num_channels,
        file_ending=description.file_ending,
    )[: request.max_cases]
    with tempfile.TemporaryDirectory(prefix="segduet-bench-") as work:
        session = Session(
            request=request,
            arms=arms,
            cases=staged_cases(cases, Path(work) / "images", description.file_ending),
            ending=description.file_ending,
            work=Path(work),
        )
        samples = session.measure(on_sample)
        agreement = session.agreement()
    record = _record(session, samples, agreement, started)
    _write(record, request)
    return record


def bench_arms(request: BenchRequest) -> dict[ArmName, Arm]:
    """Both arms, checked as far as can be without running them.

    Raises:
        RequestError: as `benchmark`.
        DataError: a stock checkpoint is damaged, or could run code.
    """
    own = parse_options(request.baseline_options, where="--baseline-option")
    options = parse_options(request.options, where="--option")
    candidate = segduet_arm(request.model, options, where="--option")
    kind, _, folder = request.against.partition(":")
    if kind == ArmKind.NNUNET:
        model = Path(folder) if folder else request.model
        baseline = stock_arm(model, options, own, where="--baseline-option")
    else:
        model = request.model if request.against == "same" else Path(request.against)
        _description(model)
        baseline = segduet_arm(model, {**options, **own}, where="--baseline-option")
    return {ArmName.CANDIDATE: candidate, ArmName.BASELINE: baseline}


def _description(model: Path) -> DatasetDescription:
    """What the model was trained on; opens it without reading weights."""
    match open_source(model, None, Checkpoints.FINAL, None):
        case OpenedFolder(folder=folder):
            return folder.description
        case OpenedBundle(bundle=bundle):
            return bundle.description


def _record(
    session: Session,
    samples: Sequence[Sample],
    agreement: dict[str, Agreement],
    started: float,
) -> BenchRecord:
    request = session.request
    arms = {
        name: ArmRecord(
            kind=str(arm.kind),
            model=str(arm.model),
            options=dict(arm.options),
            not_taken_over=arm.not_taken_over,
            command=tuple(arm.command(Path("IMAGES"), Path("OUT"))),
        )
        for name, arm in session.arms.items()
    }
    figures = compare_samples(samples, seed=request.seed)
    busy = contamination(samples)
    return BenchRecord(
        request=_as_told(request),
        started=utc(started),
        seconds=round(time.time() - started, 3),
        verdict=draw_verdict(figures, agreement, busy, arms),
        arms=arms,
        design=Design(
            rounds=request.rounds,
            warm_up_rounds=request.warm_up,
            measures=request.measures,
            passes=request.passes,
            cases=tuple(case.case for case in session.cases),
            seed=request.seed,
            order=tuple(first for number, (first, _) in session.rounds() if number >= 0),
        ),
        figures=figures,
        agreement=agreement,
        contamination=busy,
        environment=environment_stamp(),
        samples=tuple(samples),
    )


def _as_told(request: BenchRequest) -> tuple[str, ...]:
    """The request as the command line that asks for it."""
    told = ["segduet", "bench", str(request.model), *(str(path) for path in request.inputs)]
    told += ["--against", request.against, "--rounds", str(request.rounds)]
    told += ["--warm-up", str(request.warm_up), "--passes", str(request.passes)]
    told += ["--seed", str(request.seed)]
    if len(request.measures) == 1:
        told += ["--measure", request.measures[0]]
    if request.max_cases is not None:
        told += ["--max-cases", str(request.max_cases)]
    for option in request.options:
        told += ["--option", option]
    for option in request.baseline_options:
        told += ["--baseline-option", option]
    return tuple(told)


def _write(record: BenchRecord, request: BenchRequest) -> None:
    text = markdown(record)
    write_json(request.out / RECORD_FILE, record.model_dump(mode="json"))
    write_text(request.out / TEXT_FILE, text)
    manifest = RunManifest(
        command="bench",
        arguments={"request": list(record.request)},
        outcome=record.verdict.model_dump(mode="json"),
        started=record.started,
        seconds=record.seconds,
    )
    manifest.write(request.out)


def _check_numbers(request: BenchRequest) -> None:
    for option, value, least in (
        ("--rounds", request.rounds, MIN_ROUNDS),
        ("--passes", request.passes, MIN_PASSES),
        ("--warm-up", request.warm_up, 0),
    ):
        if value < least:
            raise RequestError(
                f"{option} {value}",
                found="too few to measure anything",
                expected=f"at least {least}",
                remedy="Give more; 10 rounds are the default.",
            )
