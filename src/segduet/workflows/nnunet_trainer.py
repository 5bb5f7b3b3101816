"""The trainer that stock `nnUNetv2_train -tr nnUNetTrainerSegduet` finds through the shim (B11).

Loop, patches, augmentation, checkpoints and validation are nnU-Net's; network and losses are ours.
The dataset must have been planned by `segduet plan`, which puts tasks and labels into the plan.

A trap: nnU-Net searches its own trainers first, and one of them (primus) imports timm and
torchvision. Where torchvision was built for another torch (a CPU torch beside PyPI's torchvision),
that import ends with "operator torchvision::nms does not exist", and no external trainer is found,
ours included. Install the torchvision that belongs to the torch. `segduet train` needs none.
"""

from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn

from segduet.core.answers import fitted_task
from segduet.core.cases import CaseTable
from segduet.core.description import validated
from segduet.core.errors import RequestError
from segduet.core.labels import LabelScheme
from segduet.core.plan import ConfigurationPlan, PlanSection
from segduet.core.tasks import TaskSpec
from segduet.losses.config import ClassificationLossConfig
from segduet.losses.task_loss import build_task_loss
from segduet.networks.config import HeadConfig
from segduet.networks.joint import build_joint_network
from segduet.networks.stock_view import SegmentationView
from segduet.nnunet.store import PreparedStore

#: Weight of each class loss beside nnU-Net's segmentation loss, as in the default recipe.
TASK_WEIGHT = 0.1
GRADIENT_CLIP_NORM = 12  # nnU-Net's


class nnUNetTrainerSegduet(nnUNetTrainer):  # type: ignore[misc]  # noqa: N801 - nnU-Net's naming
    """Joint segmentation and classification inside nnU-Net's own training."""

    @staticmethod
    def build_network_architecture(
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The joint network, seen by nnU-Net as a segmentation network.

        Raises:
            RequestError: the plan was not made by `segduet plan`.
        """
        section, labels = _section(plans_manager.plans)
        assert labels.num_segmentation_heads == num_output_channels
        network = build_joint_network(
            configuration=validated(
                ConfigurationPlan, configuration_manager.configuration, where="plans"
            ),
            num_channels=num_input_channels,
            labels=labels,
            tasks=section.tasks,
            head=HeadConfig(),
            deep_supervision=enable_deep_supervision,
        )
        return SegmentationView(network)

    def initialize(self) -> None:
        """Builds network and losses; reads the case table beside the plan."""
        super().initialize()
        self.section, self.labels = _section(self.plans_manager.plans)
        _refuse_regression(self.section)
        base = Path(self.preprocessed_dataset_folder_base)
        self.case_table = CaseTable.read(base / "cases.csv", self.section.tasks)
        patch = self.configuration_manager.patch_size
        self.store = PreparedStore(
            folder=Path(self.preprocessed_dataset_folder),
            records=base / "segduet_records" / self.configuration_manager.data_identifier,
            patch_zyx=(1, *patch)[-3:],
        )
        self.task_losses = self._build_task_losses()

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's step with the class losses added; the encoder still runs once."""
        data = batch["data"].to(self.device, non_blocking=True)
        target = batch["target"]
        scales = [t.to(self.device) for t in (target if isinstance(target, list) else [target])]
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            outputs = self._view().joint(data)
            segmentation = list(outputs.segmentation)
            is_deep = isinstance(target, list)
            loss = self.loss(segmentation, scales) if is_deep else self.loss(*segmentation, *scales)
            for task in self.section.tasks:
                targets = self._targets(task, batch["keys"])
                evidence = self._evidence(task, batch["keys"], scales[0])
                task_loss = self.task_losses[task.name]
                loss = loss + TASK_WEIGHT * task_loss(
                    outputs.case_logits[task.name], targets, evidence
                )
        self._optimize(loss)
        return {"loss": loss.detach().cpu().numpy()}

    def _optimize(self, loss: Tensor) -> None:
        parameters = self.network.parameters()
        if self.grad_scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, GRADIENT_CLIP_NORM)
            self.optimizer.step()
            return
        self.grad_scaler.scale(loss).backward()
        self.grad_scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(parameters, GRADIENT_CLIP_NORM)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def _view(self) -> SegmentationView:
        network = getattr(self.network, "module", self.network)
        view = getattr(network, "_orig_mod", network)
        assert isinstance(view, SegmentationView)
        return view

    def _build_task_losses(self) -> dict[str, nn.Module]:
        train_cases, _ = self.do_split()
        losses = {}
        for task in self.section.tasks:
            targets = self.case_table.targets(task, train_cases)
            fitted = fitted_task(task, targets, where="training cases")
            loss = build_task_loss(fitted, targets, ClassificationLossConfig())
            losses[task.name] = loss.to(self.device)
        return losses

    def _targets(self, task: TaskSpec, cases: list[str]) -> Tensor:
        return torch.from_numpy(self.case_table.targets(task, cases)).to(self.device)

    def _evidence(self, task: TaskSpec, cases: list[str], target: Tensor) -> Tensor:
        """Share of each case's target region in its patch; 1 where the case has none."""
        names = list(self.labels.foreground)
        wanted = [task.evidence_region] if task.evidence_region else names
        if self.labels.has_regions:
            held = target[:, [names.index(name) for name in wanted]].any(1)
        else:
            values = sorted({v for name in wanted for v in self.labels.foreground[name]})
            held = torch.isin(target, torch.tensor(values, device=self.device))
        counts = held.flatten(1).sum(1).float()
        totals = [self.store.open(case).evidence_voxels(task.evidence_region) for case in cases]
        total = torch.tensor(totals, device=self.device, dtype=torch.float32)
        return torch.where(total > 0, (counts / total.clamp_min(1)).clamp_max(1), 1.0)


def _refuse_regression(section: PlanSection) -> None:
    """A regression's scale belongs in the model's header, and nnU-Net's checkpoint has none."""
    names = [task.name for task in section.tasks if task.kind == "regression"]
    if names:
        raise RequestError(
            f"task {names[0]!r}",
            found="a regression",
            expected="tasks with classes, which need nothing but their weights to answer",
            remedy="Train with `segduet train`.",
        )


def _section(plans: dict[str, Any]) -> tuple[PlanSection, LabelScheme]:
    section = validated(PlanSection, plans.get("segduet", {}), where="plans, segduet")
    if not section.labels:
        raise RequestError(
            f"plans {plans.get('plans_name')!r}",
            found="a plan without the section `segduet`",
            expected="tasks and labels, which nnU-Net's own planner does not write",
            remedy="Plan the dataset with `segduet plan`.",
        )
    order = section.regions_class_order
    return section, LabelScheme.from_dataset_json(section.labels, order, where="plans, segduet")
