"""`bench`: is it really faster, by how much, and are the answers the same?"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segduet.cli.display import print_result, print_table, progress
from segduet.cli.options import JsonOption
from segduet.core.seeds import LARGEST_SEED

if TYPE_CHECKING:
    from segduet.evaluation.bench_record import Measure


class MeasureChoice(StrEnum):
    """What is timed."""

    BOTH = "both"
    COLD = "cold"
    WARM = "warm"

    @property
    def measures(self) -> "tuple[Measure, ...]":
        """As the benchmark knows them."""
        match self:
            case MeasureChoice.BOTH:
                return ("cold", "warm")
            case MeasureChoice.COLD:
                return ("cold",)
            case MeasureChoice.WARM:
                return ("warm",)


def register(app: typer.Typer) -> None:
    """Adds this group's commands."""
    app.command()(bench)


def bench(
    model: Annotated[Path, typer.Argument(help="The candidate's model folder or bundle.")],
    inputs: Annotated[
        list[Path], typer.Argument(help="Folder of images, or image files.", metavar="INPUT...")
    ],
    against: Annotated[
        str,
        typer.Option(
            help="nnunet: stock nnU-Net on the same model folder (nnunet:FOLDER on another); same: "
            "the same model with other options; or another model."
        ),
    ] = "nnunet",
    option: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE of `segduet predict` for the candidate; repeat."),
    ] = None,
    baseline_option: Annotated[
        list[str] | None,
        typer.Option(help="The baseline's, on top of the candidate's; repeat."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path(
        "segduet-bench"
    ),
    rounds: Annotated[int, typer.Option(help="Measured rounds.")] = 10,
    warm_up: Annotated[int, typer.Option(help="Rounds before them, in no figure.")] = 1,
    measure: Annotated[
        MeasureChoice, typer.Option(help="cold: whole command; warm: model kept in memory.")
    ] = MeasureChoice.BOTH,
    passes: Annotated[int, typer.Option(help="Times a warm process predicts all cases.")] = 3,
    max_cases: Annotated[
        int | None, typer.Option(min=1, help="Use the first so many cases.", show_default="all")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the order and the intervals.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Time two ways to predict in turn, in fresh processes, and compare what they answer."""
    from segduet.reporting.benchmark_text import FIGURE_COLUMNS, figure_rows
    from segduet.workflows.bench_session import BenchRequest
    from segduet.workflows.benchmarking import benchmark

    request = BenchRequest(
        model=model,
        inputs=inputs,
        out=out,
        against=against,
        options=option or (),
        baseline_options=baseline_option or (),
        rounds=rounds,
        warm_up=warm_up,
        measures=measure.measures,
        passes=passes,
        max_cases=max_cases,
        seed=seed,
    )
    with progress(quiet=as_json) as show:
        record = benchmark(request, show)
    if not as_json:
        title = "95 % intervals in brackets; ratio = baseline / candidate"
        print_table(title, FIGURE_COLUMNS, figure_rows(record.figures))
    lines = [*record.verdict.sentences, f"written: {out / 'bench.json'}, {out / 'bench.md'}"]
    print_result(record.model_dump(mode="json"), lines, as_json=as_json)
