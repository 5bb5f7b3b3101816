import pytest
import torch

from segduet.core.errors import RequestError
from segduet.training.devices import choose_compute


def test_fp16_on_a_cpu_is_refused():
    """F48."""
    with pytest.raises(RequestError, match="fp16"):
        choose_compute("cpu", "fp16")


@pytest.mark.parametrize("name", ["abacus", "mps", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(RequestError, match="--device"):
        choose_compute(name, "fp32")


def test_auto_states_what_it_chose():
    compute = choose_compute("cpu", "auto")
    assert compute.device.type == "cpu"
    assert compute.precision in ("bf16", "fp32")


def test_autocast_changes_the_type_of_a_product_and_fp32_does_not():
    """F48: the switch acts."""
    a = torch.ones(2, 2)
    with choose_compute("cpu", "bf16").autocast():
        assert (a @ a).dtype == torch.bfloat16
    with choose_compute("cpu", "fp32").autocast():
        assert (a @ a).dtype == torch.float32


def test_the_gradient_scaler_acts_for_fp16_only():
    assert not choose_compute("cpu", "bf16").gradient_scaler().is_enabled()
