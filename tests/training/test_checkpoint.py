import pickle

import pytest
import torch
from torch import nn

from segduet.core.errors import DataError, RequestError
from segduet.training.checkpoint import (
    load_checkpoint,
    load_unique,
    read_model,
    save_checkpoint,
    write_model,
)
from segduet.training.loop import CHECKPOINT, initial_state, train
from segduet.training.tensors import unique_tensors


@pytest.fixture
def trained(make_job):
    job = make_job(until_epoch=1)
    return job, train(job, resume=False)


def test_everything_comes_back_bit_for_bit(make_job, trained, tmp_path):
    """F52, B10: network, average, optimiser, history."""
    job, state = trained
    fresh = initial_state(make_job(seed=0))
    load_checkpoint(job.run_folder / CHECKPOINT, fresh, job.recipe)
    for mine, theirs in ((fresh.network, state.network), (fresh.model, state.model)):
        pairs = zip(unique_tensors(mine).values(), unique_tensors(theirs).values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert fresh.epoch == 1
    assert fresh.history == state.history
    assert fresh.average.num_updates == state.average.num_updates == 3
    old, new = (s.optimizer.state_dict()["state"] for s in (state, fresh))
    assert old.keys() == new.keys()
    assert all(torch.equal(old[i]["momentum_buffer"], new[i]["momentum_buffer"]) for i in old)


def test_another_recipe_is_refused_by_name(make_job, trained):
    job, _ = trained
    other = make_job(gradient_clip_norm=1.0)
    with pytest.raises(RequestError, match="gradient_clip_norm"):
        load_checkpoint(job.run_folder / CHECKPOINT, initial_state(other), other.recipe)


def test_settings_of_the_machine_may_change_on_resume(make_job, trained):
    """F54: a hot machine gets its guard at the next start."""
    job, _ = trained
    other = make_job(thermal={"enabled": True}, details_every=3)
    state = initial_state(other)
    load_checkpoint(job.run_folder / CHECKPOINT, state, other.recipe)
    assert state.epoch == 1


@pytest.mark.parametrize("damage", ["cut", "flipped header", "empty", "pickle", "text"])
def test_a_damaged_or_foreign_file_is_one_clear_error(make_job, trained, damage):
    """F52, B20: nothing is unpickled, nothing else is tried."""
    job, _ = trained
    path = job.run_folder / CHECKPOINT
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "flipped header": bytes([255]) + content[1:],
            "empty": b"",
            "pickle": pickle.dumps({"network": 1}),
            "text": b"not a checkpoint",
        }[damage]
    )
    with pytest.raises(DataError, match=r"checkpoint_latest.*cannot be read"):
        load_checkpoint(path, initial_state(make_job()), job.recipe)


def test_a_missing_checkpoint_says_what_to_do(make_job):
    job = make_job()
    with pytest.raises(DataError, match="without --resume"):
        train(job, resume=True)


def test_a_model_round_trips_with_its_header(tmp_path):
    """B20."""
    network, other = nn.Linear(3, 2), nn.Linear(3, 2)
    write_model(tmp_path / "m.safetensors", network, {"tasks": [], "epoch": 3})
    tensors, header = read_model(tmp_path / "m.safetensors")
    load_unique(other, tensors, where="m")
    assert header == {"tasks": [], "epoch": 3}
    assert torch.equal(network.weight, other.weight)


def test_weights_of_another_shape_are_refused():
    with pytest.raises(DataError, match="weight"):
        load_unique(nn.Linear(3, 2), unique_tensors(nn.Linear(2, 2)), where="m")


def test_a_full_disk_leaves_the_previous_checkpoint(trained, monkeypatch):
    """B10: nothing half-written."""
    from segduet.core.errors import StorageError
    from segduet.training import checkpoint

    job, state = trained
    path = job.run_folder / CHECKPOINT
    before = path.read_bytes()

    def fill_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", fill_disk)
    with pytest.raises(StorageError, match="No space left"):
        save_checkpoint(path, state, job.recipe)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.glob(".partial*")] == []
