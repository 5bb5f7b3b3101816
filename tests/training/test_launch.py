import pytest

from segduet.core.errors import RequestError
from segduet.training.devices import choose_compute
from segduet.training.launch import Launch, require_even_shares

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "29500",
}


def test_a_launch_is_what_torchrun_says_and_alone_without_it():
    launch = Launch.of(TORCHRUN)
    assert (launch.rank, launch.size, launch.local_rank, launch.host) == (5, 8, 1, "node0")
    assert not launch.is_first
    assert Launch.of({"RANK": "1"}) == Launch()
    assert Launch().is_first


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"MASTER_ADDR": ""}, "no MASTER_ADDR"),
        ({"RANK": "-1"}, "RANK=-1"),
        ({"RANK": "8"}, "process 8 of 8"),
        ({"LOCAL_RANK": "4"}, "4 of 4 here"),
        ({"LOCAL_WORLD_SIZE": "9"}, "1 of 9 here"),
    ],
)
def test_a_launch_that_cannot_be_is_refused(changed, message):
    with pytest.raises(RequestError, match=message):
        Launch.of({**TORCHRUN, **changed})


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    require_even_shares(16, Launch.of(TORCHRUN))
    require_even_shares(3, Launch())
    with pytest.raises(RequestError, match="a batch of 12; expected a multiple of 8"):
        require_even_shares(12, Launch.of(TORCHRUN))


def test_every_process_takes_the_gpu_of_its_number(monkeypatch):
    launch = Launch.of(TORCHRUN)
    assert choose_compute("cpu", "fp32", launch).device.type == "cpu"
    with pytest.raises(RequestError, match="cuda:1: found 8 processes that would all use it"):
        choose_compute("cuda:1", "fp32", launch)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for count, wanted in ((4, "auto"), (4, "cuda")):
        monkeypatch.setattr("torch.cuda.device_count", lambda n=count: n)
        device = choose_compute(wanted, "fp32", launch).device
        assert (device.type, device.index) == ("cuda", 1)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(RequestError, match="4 processes for 2 GPUs"):
        choose_compute("auto", "fp32", launch)
