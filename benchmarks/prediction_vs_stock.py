"""How much faster than stock nnU-Net does `segduet predict` give the same masks on a CPU?

Usage: python benchmarks/prediction_vs_stock.py MODEL IMAGES --name NAME [--cases N] [--rounds N]
           [--against nnunet:FOLDER] [--measure warm cold]
           [--options NAME=VALUE ...] [--baseline-options NAME=VALUE ...]
       python benchmarks/prediction_vs_stock.py --plain fp32|int8 --name NAME ...

MODEL is a model folder that stock nnU-Net trained, so both arms use the same weights, or with
--against a bundle that was made of it; IMAGES its test images. With --plain it is the crop and the
network of crop_case.py, whose weights are random: for time, not for accuracy. Same tiles and,
unless an option says otherwise, the same mirroring. Through `segduet bench`: fresh processes,
interleaved, outputs compared. Writes docs/results/prediction_NAME.json; the samples stay out of it,
their order and the load in.
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
    with tempfile.TemporaryDirectory(prefix="segduet-bench-") as folder:
        if arguments.plain:
            _make_plain(arguments, Path(folder))
        request = BenchRequest(
            model=arguments.model,
            inputs=[arguments.images],
            out=Path(folder) / "bench",
            against=arguments.against,
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


def _make_plain(arguments: argparse.Namespace, folder: Path) -> None:
    """Makes the network and the image, and puts them where others would be named."""
    from crop_case import CropCase, make_image, make_int8_bundle, make_stock_model

    stock = make_stock_model(folder, CropCase())
    arguments.images = make_image(folder, CropCase())
    arguments.against = f"nnunet:{stock}"
    is_int8 = arguments.plain == "int8"
    arguments.model = make_int8_bundle(stock, folder / "int8.zip") if is_int8 else stock


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--plain", choices=["fp32", "int8"], help="weights of the plain network")
    parser.add_argument("--against", default="nnunet")
    parser.add_argument("--name", required=True, help="of the result")
    parser.add_argument("--cases", type=int, default=None, help="the first N cases only")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--measure", nargs="+", default=["warm"], choices=["warm", "cold"])
    parser.add_argument("--options", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--baseline-options", nargs="*", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    if (arguments.plain is None) == (arguments.images is None):
        parser.error("name MODEL and IMAGES, or --plain")
    return arguments


if __name__ == "__main__":
    main()
