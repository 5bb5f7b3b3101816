"""Augmentation of one patch, seeded: presets from none to nnU-Net's DA5 (F40-F44)."""

from segduet.training.augmentation.plan import AugmentationPlan, plan_augmentation
from segduet.training.augmentation.presets import build_augmentation
from segduet.training.augmentation.seeding import seeded_globals

__all__ = ["AugmentationPlan", "build_augmentation", "plan_augmentation", "seeded_globals"]
