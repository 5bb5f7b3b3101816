"""What engines that start containers have in common: image, volumes, resources."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Self

from segduet.core.errors import RequestError
from segduet.scale.submission import Submission, megabytes, plain, whole_gpus
from segduet.scale.unit import WorkUnit

GPU = "nvidia.com/gpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A claim on storage that is there already, and where containers see it."""

    claim: str
    mount: PurePosixPath

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `CLAIM=/path`.

        Raises:
            RequestError: it is not of that form.
        """
        claim, _, mount = text.partition("=")
        if not (claim and mount.startswith("/")):
            raise RequestError(
                f"--volume {text!r}",
                found="no claim with a path",
                expected="CLAIM=/path, such as studies=/data",
                remedy="Name an existing PersistentVolumeClaim and where containers see it.",
            )
        plain(claim, "--volume")
        return cls(claim=claim, mount=PurePosixPath(mount))


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions:
    """Where containers come from and what they see.

    Attributes:
        image: with segduet in it.
        volumes: the study and its data must lie in one of them.
        namespace: None takes the current one (Kubernetes only).
    """

    image: str
    volumes: tuple[Volume, ...] = ()
    namespace: str | None = None

    def __post_init__(self) -> None:
        """Refuses an image or namespace that is none."""
        plain(self.image, "--image")
        if self.namespace:
            plain(self.namespace, "--namespace")

    def claims(self) -> list[dict[str, Any]]:
        """The volumes of a pod."""
        return [
            {"name": f"volume-{index}", "persistentVolumeClaim": {"claimName": volume.claim}}
            for index, volume in enumerate(self.volumes)
        ]

    def container(self, submission: Submission, unit: WorkUnit, engine: str) -> dict[str, Any]:
        """The container that runs one unit.

        Its words pass no shell, but Kubernetes fills in `$(NAME)` and Polyaxon `{{ name }}`.

        Raises:
            RequestError: the study's path could be misread, or the unit asks for part of a GPU.
        """
        plain(str(submission.study), "the study's path in containers")
        program, *arguments = submission.command(unit.name)
        return {
            "name": "segduet",
            "image": self.image,
            "command": [program],
            "args": arguments,
            "resources": _resources(unit, engine),
            "volumeMounts": [
                {"name": f"volume-{index}", "mountPath": str(volume.mount)}
                for index, volume in enumerate(self.volumes)
            ],
        }


def _resources(unit: WorkUnit, engine: str) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "cpu": f"{round(unit.resources.cpus * 1000)}m",
        "memory": f"{megabytes(unit.resources)}Mi",
    }
    gpus = whole_gpus(unit, engine)
    devices = {GPU: gpus} if gpus else {}
    # More memory than asked for ends a container; more processor time only has to wait.
    return {"requests": {**asked, **devices}, "limits": {"memory": asked["memory"], **devices}}
