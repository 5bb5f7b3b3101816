"""The planners a user can name, each with its plans file and memory budget."""

import importlib
from dataclasses import dataclass
from typing import Any

from segduet.core.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """One way of turning a fingerprint into a plan.

    Attributes:
        plans_name: stem of the plans JSON, and first part of the prepared folders' names.
        memory_gb: GPU memory the networks are sized for, unless the user says otherwise.
        module: where nnunetv2 has the planner class.
        class_name: its name there.
        is_small: use half as wide networks and small batches, for training on a CPU.
    """

    plans_name: str
    memory_gb: float
    module: str
    class_name: str
    is_small: bool = False

    def planner_class(self) -> type[Any]:
        """The planner class; importing it takes seconds."""
        stock: type[Any] = getattr(importlib.import_module(self.module), self.class_name)
        return _small(stock) if self.is_small else stock


_PLANNERS = "nnunetv2.experiment_planning.experiment_planners"
_PLAIN = f"{_PLANNERS}.default_experiment_planner"
_RESENC = f"{_PLANNERS}.residual_unets.residual_encoder_unet_planners"

PLANNERS: dict[str, Planner] = {
    "plain": Planner(
        plans_name="nnUNetPlans", memory_gb=8, module=_PLAIN, class_name="ExperimentPlanner"
    ),
    "resenc-m": Planner(
        plans_name="nnUNetResEncUNetMPlans",
        memory_gb=8,
        module=_RESENC,
        class_name="nnUNetPlannerResEncM",
    ),
    "resenc-l": Planner(
        plans_name="nnUNetResEncUNetLPlans",
        memory_gb=24,
        module=_RESENC,
        class_name="nnUNetPlannerResEncL",
    ),
    "resenc-xl": Planner(
        plans_name="nnUNetResEncUNetXLPlans",
        memory_gb=40,
        module=_RESENC,
        class_name="nnUNetPlannerResEncXL",
    ),
    "small": Planner(
        plans_name="segduetSmallPlans",
        memory_gb=1,
        module=_PLAIN,
        class_name="ExperimentPlanner",
        is_small=True,
    ),
}


def find_planner(name: str) -> Planner:
    """The planner of this name.

    Raises:
        RequestError: there is none.
    """
    if name not in PLANNERS:
        raise RequestError(
            f"--planner {name}",
            found="an unknown planner",
            expected=f"one of {', '.join(PLANNERS)}",
            remedy="Choose one of them.",
        )
    return PLANNERS[name]


def _small(stock: type[Any]) -> type[Any]:
    class SmallMemoryPlanner(stock):  # type: ignore[misc]
        """nnU-Net's plain planner with 16..160 features and batches that suit two CPU cores."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.UNet_base_num_features = 16
            self.UNet_max_features_3d = 160
            self.UNet_max_features_2d = 256

        def get_plans_for_configuration(
            self, spacing: Any, *args: Any, **kwargs: Any
        ) -> dict[str, Any]:
            """The stock configuration with at most 2 volumes or 8 slices per batch."""
            found: dict[str, Any] = super().get_plans_for_configuration(spacing, *args, **kwargs)
            found["batch_size"] = min(found["batch_size"], 2 if len(spacing) == 3 else 8)
            return found

    return SmallMemoryPlanner
