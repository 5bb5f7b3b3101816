"""F14: a first stage's label maps in a second stage's patches, and that they are of use."""

import dataclasses

import numpy as np
import pytest
import torch

from segduet.core.labels import LabelScheme
from segduet.core.prepared import PreparedCase
from segduet.networks.joint import build_joint_network
from segduet.nnunet.stage_predictions import StagePredictions
from segduet.nnunet.store import PreparedStore
from segduet.preparation.cascade import num_input_channels
from segduet.training.augmentation import build_augmentation, plan_augmentation, seeded_globals
from segduet.training.loop import train
from segduet.training.samples import PatchDataset, PatchSource


def _apply(transform, seed, image, maps):
    with seeded_globals(np.random.default_rng(seed)):
        return transform(image=image.clone(), segmentation=maps.clone())


@pytest.mark.parametrize("size", [(12, 16, 16), (6, 20, 20), (24, 24)])
@pytest.mark.parametrize("preset", ["default", "da5"])
def test_every_patch_of_a_second_stage_is_nnunets_own_bit_for_bit(preset, size):
    """The same seed through nnU-Net's transforms for a cascade of two labels, 25 draws."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import (
        nnUNetTrainerDA5,
    )

    plan = plan_augmentation(size, preset)
    turned = (-plan.rotation_rad, plan.rotation_rad)
    stock = {"default": nnUNetTrainer, "da5": nnUNetTrainerDA5}[preset].get_training_transforms(
        plan.patch_size,
        turned,
        None,
        plan.mirror_axes,
        plan.in_plane,
        is_cascaded=True,
        foreground_labels=[1, 2],
    )
    for transform in stock.transforms:
        inner = getattr(transform, "transform", transform)
        if hasattr(inner, "benchmark"):
            inner.benchmark = False  # its blur must not pick its kernel by timing
    ours = build_augmentation(plan, preset, fed_values=(1, 2))
    generator = torch.Generator().manual_seed(1)
    image = torch.randn((2, *plan.read_size), generator=generator)
    maps = torch.randint(0, 3, (2, *plan.read_size), generator=generator).to(torch.int16)
    for seed in range(25):
        mine, theirs = _apply(ours, seed, image, maps), _apply(stock, seed, image, maps)
        assert mine["image"].shape == (4, *size)
        assert torch.equal(mine["image"], theirs["image"])
        assert torch.equal(mine["segmentation"].clamp(min=0), theirs["segmentation"])


@pytest.mark.parametrize("preset", ["none", "mild", "default", "da5", "cue_preserving"])
def test_image_reference_and_previous_stage_move_together(preset):
    """A previous stage equal to the reference stays equal unless it is disturbed, on purpose.

    The image is the mask itself, so its bright half lies where the label does.
    """
    plan = plan_augmentation((12, 16, 16), preset)
    transform = build_augmentation(plan, preset, fed_values=(1,))
    mask = torch.zeros((1, *plan.read_size), dtype=torch.int16)
    mask[0, :, :, plan.read_size[2] // 2 :] = 1
    mask[0, : plan.read_size[0] // 3] = 1
    equal = []
    for seed in range(40):
        out = _apply(transform, seed, mask.float(), torch.cat([mask, mask]))
        reference, channel = out["segmentation"], out["image"][1]
        assert reference.shape[0] == 1
        assert set(channel.unique().tolist()) <= {0.0, 1.0}
        equal.append(torch.equal(channel, (reference[0] == 1).float()))
        inside, outside = (out["image"][0][reference[0] == value].mean() for value in (1, 0))
        if equal[-1] and preset != "da5":  # whose blank rectangles and gradients hide the mask
            assert inside > outside
    # 0.6 * 0.8 = 0.48 of the patches meet no disturbance, of one value
    assert sum(equal) == 40 if preset == "none" else 12 <= sum(equal) <= 38


LABELS = LabelScheme(labels=(("background", (0,)), ("blob", (1,))))


@pytest.fixture
def noise_store(tiny_store, tmp_path):
    """The tiny cases with noise for images, in which nothing tells where the blob is."""
    store = PreparedStore(
        folder=tmp_path / "noise", records=tmp_path / "records", patch_zyx=(8, 16, 16)
    )
    for number, case in enumerate(tiny_store.cases()):
        stored = tiny_store.open(case)
        noise = np.random.default_rng(number).normal(size=stored.image.shape).astype(np.float32)
        prepared = PreparedCase(
            case=case, image=noise, label_map=stored.label_map[0], placement=stored.placement
        )
        store.write(prepared, LABELS, settings_hash="noise")
    return store


@pytest.fixture
def perfect(noise_store, tmp_path):
    """A first stage that is always right."""
    handed = StagePredictions(folder=tmp_path / "handed", patch_zyx=(8, 16, 16))
    for case in noise_store.cases():
        handed.write(case, noise_store.open(case).label_map[0])
    return handed


@pytest.fixture
def train_second_stage(make_job, plan, noise_store):
    """Trains on noise, with what a first stage says or without; returns job and history."""

    def run(previous):
        job = make_job(
            epochs=4,
            steps_per_epoch=10,
            optimizer={"name": "adamw", "learning_rate": 1e-2},
            sampling={"augmentation": "none"},
            averaging={"kind": "none"},
        )
        configuration = plan.configuration("3d_fullres").model_copy(
            update={"previous_stage": "3d_lowres" if previous else None}
        )
        torch.manual_seed(0)
        network = build_joint_network(
            configuration=configuration,
            num_channels=num_input_channels(configuration, num_image_channels=1, labels=LABELS),
            labels=LABELS,
            tasks=job.patches.tasks,
            head=job.recipe.head,
            deep_supervision=True,
        )
        source = PatchSource(
            store=noise_store,
            cases=noise_store.cases(),
            targets={"kind": np.zeros((4, 1), np.float32)},
            tasks=job.patches.tasks,
            labels=LABELS,
            seed=0,
            previous=previous,
        )
        patches = PatchDataset(source, plan_augmentation((8, 16, 16), "none"), job.recipe.sampling)
        job = dataclasses.replace(job, network=network, patches=patches, validation_patches=patches)
        return job, train(job, resume=False).history

    return run


def test_a_right_first_stage_is_worth_much_to_the_second(train_second_stage, perfect):
    """On against off, same seed and steps: only the channels say where the blob is."""
    job, with_stage = train_second_stage(perfect)
    _, without = train_second_stage(None)
    for sample in (job.patches[i] for i in range(4)):
        assert sample["image"].shape == (2, 8, 16, 16)
        assert torch.equal(sample["image"][1], (sample["label_map"][0] == 1).float())
    assert with_stage[-1]["validation"]["patch_dice"] > 0.8
    assert without[-1]["validation"]["patch_dice"] < 0.6  # a blob guessed at the usual place
