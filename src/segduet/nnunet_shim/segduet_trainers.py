"""Point `nnUNet_extTrainer` to this folder, and stock `nnUNetv2_train -tr` finds our trainer."""

from segduet.workflows.nnunet_trainer import nnUNetTrainerSegduet  # noqa: F401
