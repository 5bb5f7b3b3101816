"""Stock nnUNetTrainer, segmentation only, on a dataset that was planned and preprocessed before.

Usage: python benchmarks/stock_arm.py DATA_ROOT DATASET PLANS CONFIGURATION ITERATIONS

Trains fold 0 with nnU-Net's own loop, optimiser and augmentation for the given number of
iterations (8 epochs), then runs nnU-Net's own validation (mirrored, full cases). The masks are in
`nnUNet_results/DATASET/nnUNetTrainer__PLANS__CONFIGURATION/fold_0/validation`.
"""

import json
import os
import sys
import time
from pathlib import Path

NUM_EPOCHS = 8


def main() -> None:
    """Trains and validates; prints seconds."""
    root, dataset, plans_name, configuration, iterations = sys.argv[1:]
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(Path(root) / f"nnUNet_{name}")
    os.environ["nnUNet_n_proc_DA"] = "1"  # noqa: SIM112 - nnU-Net spells it so
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    folder = Path(root) / "nnUNet_preprocessed" / dataset
    plans = json.loads((folder / f"{plans_name}.json").read_text())
    trainer = nnUNetTrainer(
        plans={**plans, "continue_training": False},
        configuration=configuration,
        fold=0,
        dataset_json=json.loads((folder / "dataset.json").read_text()),
        device=torch.device("cpu"),
    )
    trainer.num_epochs = NUM_EPOCHS
    trainer.num_iterations_per_epoch = int(iterations) // NUM_EPOCHS
    trainer.num_val_iterations_per_epoch = 1
    started = time.perf_counter()
    trainer.run_training()
    print("training seconds", time.perf_counter() - started)
    trainer.perform_actual_validation(save_probabilities=False)


if __name__ == "__main__":
    main()
