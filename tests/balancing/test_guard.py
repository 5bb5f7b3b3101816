import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from segduet.balancing.config import FixedConfig, GuardedConfig
from segduet.balancing.guard import guarded
from segduet.balancing.protocol import Trunk
from segduet.balancing.registry import build_balancer

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
VECTORS = st.lists(st.floats(-10, 10), min_size=3, max_size=3).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)


@pytest.fixture
def toy(monkeypatch):
    """The conflicting tasks of benchmarks/interference.py."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import interference

    torch.set_num_threads(1)
    return interference


def test_the_opposing_part_is_taken_out_and_the_rest_shortened():
    """B08: (-1, 1) beside (2, 0) leaves (0, 1); at a ratio of 0.25 it is 0.5 long."""
    protected, other = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 1.0])
    assert guarded(protected, [other], max_ratio=1.0).tolist() == [2.0, 1.0]
    assert guarded(protected, [other], max_ratio=0.25).tolist() == [2.0, 0.5]
    assert guarded(protected, [other], max_ratio=0.0).tolist() == [2.0, 0.0]


def test_a_task_that_goes_along_is_left_alone():
    protected, other = torch.tensor([2.0, 0.0]), torch.tensor([0.5, 1.0])
    assert guarded(protected, [other], max_ratio=1.0).tolist() == [2.5, 1.0]


def test_one_task_cannot_pay_for_what_another_does():
    """The helper's (1, 0) does not make room for the opponent's (-1, 0)."""
    others = [torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0])]
    assert guarded(torch.tensor([2.0, 0.0]), others, max_ratio=1.0).tolist() == [3.0, 0.0]


@settings(deadline=None, max_examples=60)
@given(VECTORS, st.lists(VECTORS, max_size=3), st.floats(0, 4))
def test_the_sum_never_opposes_the_protected_gradient(protected, others, ratio):
    """B08: first-order safety, and the cap."""
    result = guarded(protected, others, max_ratio=ratio)
    size = float(protected.norm())
    assert float(result @ protected) >= size**2 * (1 - 1e-9) - 1e-12
    assert float((result - protected).norm()) <= ratio * size + 1e-9


def test_only_the_shared_parameters_are_guarded():
    """A batch without a mask trains the head alone."""
    shared, head = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(()))
    trunk = Trunk(parameters=(shared, head), anchor=(shared,))
    balancer = build_balancer(GuardedConfig(task_weight=1.0), tasks=["kind"], num_epochs=1)
    losses = {"segmentation": 0 * shared.sum(), "task:kind": shared.sum() + 3 * head}
    balancer.backward(losses, trunk, epoch=0, scale=torch.ones(()))
    assert shared.grad.tolist() == [0.0, 0.0]
    assert head.grad.item() == 3.0


def test_an_overflow_of_fp16_reaches_the_scaler():
    protected = torch.tensor([1.0, 0.0])
    broken = guarded(protected, [torch.tensor([math.inf, 1.0])], max_ratio=1.0)
    assert not torch.isfinite(broken).all()


def test_segmentation_keeps_its_dice_at_every_level_of_conflict(toy):
    """B08: within 0.01 of segmentation-only with the guard, not so without at the highest."""
    alone = toy.train(None, 0.0, seed=0)["dice"]
    for level in toy.LEVELS:
        kept = toy.train(GuardedConfig(task_weight=toy.TASK_WEIGHT), level, seed=0)["dice"]
        assert abs(kept - alone) <= toy.TOLERANCE, level
    lost = toy.train(FixedConfig(task_weight=toy.TASK_WEIGHT), toy.LEVELS[-1], seed=0)["dice"]
    assert alone - lost > 0.1


def test_where_there_is_room_the_guard_lets_the_class_be_learned(toy):
    """B08: it is no isolation: with two features accuracy rises from 0.64 to 0.90."""
    accuracies = [
        toy.train(GuardedConfig(task_weight=3.0, max_ratio=r), 1.0, seed=0, width=2)["accuracy"]
        for r in (0.0, 0.5)
    ]
    assert accuracies[1] > accuracies[0] + 0.1
