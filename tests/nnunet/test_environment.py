"""nnunetv2 sees the folders of the call, and only during the call."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from segduet.core.folders import DataRoot
from segduet.nnunet.environment import nnunet_environment

NAMES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def variables() -> list[str | None]:
    return [os.environ.get(name) for name in NAMES]


def test_variables_are_set_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_raw", "/elsewhere")
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    monkeypatch.delenv("nnUNet_results", raising=False)
    root = DataRoot(raw=Path("r"), preprocessed=Path("p"), results=Path("q"))
    seen = []

    def fail_inside() -> None:
        with nnunet_environment(root):
            seen.extend(variables())
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail_inside()
    assert seen == ["r", "p", "q"]
    assert variables() == ["/elsewhere", None, None]


def test_what_nnunet_prints_is_logged(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = DataRoot(raw=Path("r"), preprocessed=Path("p"), results=Path("q"))
    with caplog.at_level(logging.INFO), nnunet_environment(root):
        print("Plans were saved\n\nto a file")
    assert [r.message for r in caplog.records] == [
        "nnunetv2: Plans were saved",
        "nnunetv2: to a file",
    ]
    assert capsys.readouterr().out == ""


def test_reading_prepared_cases_needs_neither_nnunetv2_nor_torch() -> None:
    """Training, checks and planning tables open stores and plans without the seconds of either."""
    modules = ("store", "preprocess", "planning", "planners", "model_folder", "checkpoints")
    imports = "; ".join(f"import segduet.nnunet.{m}" for m in modules)
    check = "import sys; assert not {'torch', 'nnunetv2'} & set(sys.modules), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", f"{imports}; {check}"], check=True, timeout=60)
