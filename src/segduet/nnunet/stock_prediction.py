"""Stock nnU-Net's predictor, step by step with a clock: what a benchmark measures against (F85).

The steps are those of `nnUNetPredictor.predict_from_files_sequential`, by nnU-Net's own functions.
The predictor unpickles checkpoints with whatever they ask for: read them with
`read_stock_checkpoint` first, which refuses those that are more than tensors and plain types.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self


class StockPredictor:
    """nnU-Net's predictor with its networks in memory."""

    def __init__(self, predictor: Any) -> None:
        """Takes an initialised `nnUNetPredictor`; use `load`."""
        self._predictor = predictor

    @classmethod
    def load(
        cls,
        model: Path,
        *,
        folds: Sequence[str],
        checkpoint_name: str,
        mirrored: bool,
        step: float,
        device: str,
    ) -> Self:
        """Loads a model folder as `nnUNetv2_predict_from_modelfolder` does, threads included.

        Args:
            model: model folder.
            folds: folds to average.
            checkpoint_name: which checkpoint of each fold.
            mirrored: average over mirrored windows.
            step: distance between windows as a share of the patch.
            device: cpu or cuda.
        """
        import torch
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        # as the command does: every core on a CPU, one thread beside a GPU
        torch.set_num_threads(len(os.sched_getaffinity(0)) if device == "cpu" else 1)
        predictor = nnUNetPredictor(
            tile_step_size=step,
            use_mirroring=mirrored,
            device=torch.device(device),
            verbose=False,
            allow_tqdm=False,
        )
        predictor.initialize_from_trained_model_folder(str(model), list(folds), checkpoint_name)
        return cls(predictor)

    def predict(self, files: Sequence[Path], target: Path) -> dict[str, float]:
        """Predicts one case and writes its label map.

        Args:
            files: one image per channel, in channel order.
            target: the label map's file.

        Returns:
            Seconds by phase: `prepare` (reading included, as nnU-Net does both in one step),
            `network`, `restore`, `write`.
        """
        import torch
        from nnunetv2.inference.export_prediction import (
            convert_predicted_logits_to_segmentation_with_correct_shape as restore,
        )

        nnunet = self._predictor
        clock = [time.perf_counter()]
        preprocessor = nnunet.configuration_manager.preprocessor_class(verbose=False)
        data, _, properties = preprocessor.run_case(
            [str(file) for file in files],
            None,
            nnunet.plans_manager,
            nnunet.configuration_manager,
            nnunet.dataset_json,
        )
        clock.append(time.perf_counter())
        logits = nnunet.predict_logits_from_preprocessed_data(torch.from_numpy(data)).cpu()
        clock.append(time.perf_counter())
        label_map = restore(
            logits,
            nnunet.plans_manager,
            nnunet.configuration_manager,
            nnunet.label_manager,
            properties,
        )
        clock.append(time.perf_counter())
        writer = nnunet.plans_manager.image_reader_writer_class()
        writer.write_seg(label_map, str(target), properties)
        clock.append(time.perf_counter())
        phases = ("prepare", "network", "restore", "write")
        return {name: clock[i + 1] - clock[i] for i, name in enumerate(phases)}
