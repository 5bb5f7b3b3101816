"""How much faster than stock nnU-Net does `segduet predict` give the same masks on a CPU?

Usage: python benchmarks/prediction_vs_stock.py MODEL IMAGES --name NAME [--cases N] [--rounds N]
           [--options NAME=VALUE ...] [--baseline-options NAME=VALUE ...] [--measure warm cold]

MODEL is a model folder that stock nnU-Net trained, so both arms use the same weights; IMAGES its
test images. Same tiles and, unless an option says otherwise, the same mirroring. Through
`segduet bench`: fresh processes, interleaved, outputs compared. Writes
docs/results/prediction_NAME.json; the samples stay out of it, their order and the load in.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from results_file import write_result
from segduet.workflows.bench_session import BenchRequest
from segduet.workflows.benchmarking import benchmark


def main() -> None:
    """Measures and writes."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="segduet-bench-") as out:
        request = BenchRequest(
            model=arguments.model,
            inputs=[arguments.images],
            out=Path(out),
            options=arguments.options,
            baseline_options=arguments.baseline_options,
            rounds=arguments.rounds,
            measures=tuple(arguments.measure),
            passes=2,
            max_cases=arguments.cases,
        )
        record = benchmark(request, lambda what, share: print(f"{share:4.0%} {what}", flush=True))
    content: dict[str, Any] = record.model_dump(mode="json", exclude={"samples", "environment"})
    path = write_result(f"prediction_{arguments.name}", seeds=[request.seed], figures=content)
    print(f"written: {path}", *record.verdict.sentences, sep="\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--name", required=True, help="of the result")
    parser.add_argument("--cases", type=int, default=None, help="the first N cases only")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--measure", nargs="+", default=["warm"], choices=["warm", "cold"])
    parser.add_argument("--options", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--baseline-options", nargs="*", default=[], metavar="NAME=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
