"""A training that runs until it is killed, for processes that are made to be killed."""

import os

import torch

from segduet.training.loop import CHECKPOINT, TrainingJob, train


def train_for_ever(job: TrainingJob) -> None:
    """Trains, from the last checkpoint where there is one."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    train(job, resume=(job.run_folder / CHECKPOINT).exists())
