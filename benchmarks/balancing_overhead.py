"""What a balancer costs per training step, against fixed weights.

Usage: python benchmarks/balancing_overhead.py [--rounds 5] [--steps 20] [--quick]

Every measurement is a fresh process; each round runs all arms one after the other, in an order
that rotates, and a cost is the median over rounds of the ratio to the same round's fixed weights.
A small 3D network (two conv stages, two heads) on random patches, forward to optimiser step.

Bars (issue 3): uncertainty weighting at most 1.05, gradient surgery and the guard at most 2.
Writes docs/results/balancing_overhead.json; `--quick` checks that all runs, and writes nothing.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn import functional

from segduet.balancing.config import BalancerConfig
from segduet.balancing.protocol import Trunk
from segduet.balancing.registry import build_balancer

#: Arm -> configuration and its bar, a factor on the step of fixed weights.
ARMS: dict[str, tuple[dict[str, object], float | None]] = {
    "fixed": ({"kind": "fixed"}, None),
    "uncertainty": ({"kind": "uncertainty"}, 1.05),
    "dwa": ({"kind": "dwa"}, None),
    "gradnorm": ({"kind": "gradnorm"}, None),
    "pcgrad": ({"kind": "gradient", "method": "pcgrad"}, 2.0),
    "mgda": ({"kind": "gradient", "method": "mgda"}, 2.0),
    "imtl_g": ({"kind": "gradient", "method": "imtl_g"}, 2.0),
    "aligned_mtl": ({"kind": "gradient", "method": "aligned_mtl"}, 2.0),
    "config": ({"kind": "gradient", "method": "config"}, 2.0),
    "guarded": ({"kind": "guarded"}, 2.0),
}
_WARM_UP = 3


def main() -> None:
    """Measures every arm in every round, or one arm when called by itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--patch", type=int, default=32)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--arm", choices=ARMS, help="used by the script itself")
    arguments = parser.parse_args()
    if arguments.arm:
        print(json.dumps(_step_seconds(arguments.arm, arguments.steps, arguments.patch)))
        return
    rounds, steps, patch = (1, 2, 8) if arguments.quick else _sizes(arguments)
    seconds = [_round(index, steps, patch) for index in range(rounds)]
    figures = {
        "step_seconds": seconds,
        "bars": {arm: bar for arm, (_, bar) in ARMS.items() if bar},
        "ratios": {arm: statistics.median(r[arm] / r["fixed"] for r in seconds) for arm in ARMS},
    }
    figures["passed"] = all(figures["ratios"][a] <= bar for a, bar in figures["bars"].items())
    print(json.dumps(figures["ratios"]))
    if not arguments.quick:
        from results_file import write_result

        print(write_result("balancing_overhead", seeds=[0], figures=figures), figures["passed"])


def _sizes(arguments: argparse.Namespace) -> tuple[int, int, int]:
    return arguments.rounds, arguments.steps, arguments.patch


def _round(index: int, steps: int, patch: int) -> dict[str, float]:
    names = list(ARMS)
    turn = index % len(names)
    found = {}
    for arm in names[turn:] + names[:turn]:
        command = [sys.executable, __file__, "--arm", arm, f"--steps={steps}", f"--patch={patch}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[arm] = float(json.loads(done.stdout))
    return found


def _step_seconds(arm: str, steps: int, patch: int) -> float:
    """Median seconds of a step after the warm-up."""
    torch.manual_seed(0)
    network = _Network()
    config = TypeAdapter(BalancerConfig).validate_python(ARMS[arm][0])
    balancer = build_balancer(config, tasks=["kind"], num_epochs=1)
    optimizer = torch.optim.SGD([*network.parameters(), *balancer.parameters()], lr=1e-3)
    anchor = tuple(network.encoder[-1].parameters())
    trunk = Trunk(parameters=tuple(network.parameters()), anchor=anchor)
    image, one = torch.randn(2, 1, patch, patch, patch), torch.ones(())
    mask, kind = (image[:, 0] > 0).long(), torch.tensor([0, 1])
    seconds = []
    for _ in range(_WARM_UP + steps):
        started = time.perf_counter()
        losses = network.losses(image, mask, kind)
        optimizer.zero_grad()
        balancer.backward(losses, trunk, epoch=0, scale=one)
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[_WARM_UP:])


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(_block(1, 16, 1), _block(16, 32, 2))
        self.decoder = nn.Sequential(nn.ConvTranspose3d(32, 16, 2, 2), _block(16, 16, 1))
        self.output = nn.Conv3d(16, 2, 1)
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))

    def losses(self, image: Tensor, mask: Tensor, kind: Tensor) -> dict[str, Tensor]:
        deepest = self.encoder(image)
        logits = self.output(self.decoder(deepest))
        return {
            "segmentation": functional.cross_entropy(logits, mask),
            "task:kind": functional.cross_entropy(self.head(deepest.mean((2, 3, 4))), kind),
        }


def _block(fan_in: int, fan_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(fan_in, fan_out, 3, stride, 1),
        nn.InstanceNorm3d(fan_out, affine=True),
        nn.LeakyReLU(),
        nn.Conv3d(fan_out, fan_out, 3, 1, 1),
        nn.InstanceNorm3d(fan_out, affine=True),
        nn.LeakyReLU(),
    )


if __name__ == "__main__":
    main()
