"""B03: what is not known about a case teaches nothing, on the real network, to the last bit."""

from dataclasses import replace
from math import nan

import numpy as np
import pytest
import torch

from segduet.core.errors import DataError, RequestError
from segduet.losses.config import ClassificationLossConfig, SegmentationLossConfig
from segduet.training.objective import build_objective
from segduet.training.patch_validation import validate_patches
from segduet.training.samples import Batch

HEADS = {
    "bottleneck": {"kind": "bottleneck", "hidden": [8], "dropout": 0.0},
    "mask_pooled": {"kind": "mask_pooled", "hidden": [8], "dropout": 0.0},
}


@pytest.fixture(params=HEADS)
def job(request, make_job):
    return make_job(head=HEADS[request.param])


def batch(*, has_mask, classes):
    """Random patches; a patch without a mask has the label map of a case without one."""
    generator = torch.Generator().manual_seed(0)
    count = len(has_mask)
    drawn = torch.tensor(has_mask)
    label_map = torch.randint(0, 2, (count, 1, 8, 16, 16), generator=generator).to(torch.int16)
    label_map[~drawn] = -1
    return Batch(
        cases=tuple(f"case_{i}" for i in range(count)),
        image=torch.randn(count, 1, 8, 16, 16, generator=generator),
        label_map=label_map,
        has_mask=drawn,
        targets={"kind": torch.tensor(classes, dtype=torch.float32)[:, None]},
        evidence={"kind": torch.linspace(0.3, 1.0, count)},
    )


def part(whole, rows):
    """Some patches of a batch."""
    return replace(
        whole,
        cases=tuple(whole.cases[i] for i in rows),
        image=whole.image[rows],
        label_map=whole.label_map[rows],
        has_mask=whole.has_mask[rows],
        targets={k: v[rows] for k, v in whole.targets.items()},
        evidence={k: v[rows] for k, v in whole.evidence.items()},
    )


def learnt(job, given):
    """Losses, and the gradient of their sum for every parameter."""
    job.network.zero_grad()
    losses = job.objective(job.network(given.image), given).terms
    torch.stack(list(losses.values())).sum().backward()
    gradients = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in job.network.named_parameters()
    }
    return {name: loss.item() for name, loss in losses.items()}, gradients


def largest(gradients, start):
    found = [g.abs().max().item() for name, g in gradients.items() if name.startswith(start)]
    assert found, start
    return max(found)


def test_cases_without_a_mask_leave_the_decoder_alone(job):
    """B03: decoder and segmentation layers get a gradient of exactly 0; encoder and head learn."""
    losses, gradients = learnt(job, batch(has_mask=[False, False], classes=[0, 1]))
    assert losses["segmentation"] == 0
    assert losses["task:kind"] > 0.1
    assert largest(gradients, "decoder.") == 0
    assert largest(gradients, "heads.") > 0
    assert largest(gradients, "encoder.") > 0


def test_cases_without_a_class_leave_the_head_alone(job):
    """B03: the head gets a gradient of exactly 0; encoder and decoder learn."""
    losses, gradients = learnt(job, batch(has_mask=[True, True], classes=[nan, nan]))
    assert losses["task:kind"] == 0
    assert losses["segmentation"] > 0.1
    assert largest(gradients, "heads.") == 0
    assert largest(gradients, "decoder.seg_layers") > 0
    assert largest(gradients, "encoder.") > 0


def test_a_batch_in_which_nothing_is_known_teaches_nothing(job):
    """B03: terms exactly 0, with a graph, every gradient exactly 0."""
    losses, gradients = learnt(job, batch(has_mask=[False, False], classes=[nan, nan]))
    assert losses == {"segmentation": 0.0, "task:kind": 0.0}
    assert largest(gradients, "") == 0


def test_a_mixed_batch_teaches_the_sum_of_its_parts(job):
    """B03: two masks without class, two classes without mask, one with neither."""
    job.network.eval()  # the head's running statistics would depend on the order of the calls
    job.network.deep_supervision = True
    mixed = batch(has_mask=[True, False, True, False, False], classes=[nan, 1, nan, 0, nan])
    losses, together = learnt(job, mixed)
    mask_losses, of_masks = learnt(job, part(mixed, [0, 2]))
    class_losses, of_classes = learnt(job, part(mixed, [1, 3]))
    assert losses["segmentation"] == pytest.approx(mask_losses["segmentation"], abs=1e-6)
    assert losses["task:kind"] == pytest.approx(class_losses["task:kind"], abs=1e-6)
    for name, gradient in together.items():
        torch.testing.assert_close(
            gradient, of_masks[name] + of_classes[name], atol=1e-6, rtol=1e-5, msg=name
        )


def test_patches_without_a_mask_have_no_dice(job):
    """B03, B09: the Dice over a batch is that over its patches with a mask."""

    def dice(given):
        figures = validate_patches(job.network, [given], job.objective, job.labels, job.compute)
        return figures["patch_dice"]

    mixed = batch(has_mask=[True, False], classes=[0, 1])
    assert dice(mixed) == dice(part(mixed, [0]))
    assert dice(part(mixed, [1])) is None


def test_the_segmentation_loss_follows_its_config(job):
    """F30, F61: focal loss is smaller than cross entropy and turns the decoder another way."""
    given = batch(has_mask=[True, True], classes=[0, 1])
    plain, plain_gradients = learnt(job, given)
    labels, tasks = job.labels, job.patches._source.tasks
    job = replace(
        job,
        objective=build_objective(
            labels,
            tasks,
            {"kind": np.array([[0.0], [0.0], [1.0], [1.0]])},
            ClassificationLossConfig(),
            segmentation_config=SegmentationLossConfig(kind="dice_focal"),
            batch_dice=False,
            device=torch.device("cpu"),
        ),
    )
    focal, focal_gradients = learnt(job, given)
    assert focal["segmentation"] < plain["segmentation"] - 0.1
    assert focal["task:kind"] == plain["task:kind"]
    name = "decoder.seg_layers.0.weight"
    a, b = plain_gradients[name].flatten(), focal_gradients[name].flatten()
    assert torch.nn.functional.cosine_similarity(a, b, dim=0) < 0.999


def test_what_cannot_be_learnt_is_refused(job):
    """B03, F30: a task without any class, and alphas that do not fit, one message each."""
    tasks = job.patches._source.tasks

    def build(targets, **options):
        return build_objective(
            job.labels,
            tasks,
            {"kind": np.array(targets)[:, None]},
            ClassificationLossConfig(class_weights="equal"),
            segmentation_config=SegmentationLossConfig(**options),
            batch_dice=False,
            device=torch.device("cpu"),
        )

    with pytest.raises(DataError, match=r"task 'kind', training cases: found not a single case"):
        build((nan, nan))
    with pytest.raises(RequestError, match=r"focal_alpha.*'background', 'blob'"):
        build((0.0, 1.0), kind="dice_focal", focal_alpha=(1.0, 2.0, 3.0))
