import errno
import os

import pytest
import torch
from torch import nn

from modelhub.ml.train import checkpoint


def trained(steps, folder=None):
    """A small model after so many steps, its checkpoints kept."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for step in range(1, steps + 1):
        torch.manual_seed(step)
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        if folder is not None:
            checkpoint.save(folder, model, [optimizer], {"step": step})
    return model, optimizer


def restored(folder):
    model = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    return checkpoint.restore(folder, model, [optimizer]), model


def same(one, other):
    return checkpoint.weight_hash(one.state_dict()) == checkpoint.weight_hash(other.state_dict())


def test_two_are_kept_and_the_last_is_taken(tmp_path):
    model, _ = trained(5, tmp_path)
    assert sorted(p.name for p in tmp_path.glob("weights-*.safetensors")) == [
        "weights-4.safetensors",
        "weights-5.safetensors",
    ]
    meta, back = restored(tmp_path)
    assert meta["step"] == 5 and same(model, back)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("spoil", ["cut", "flip", "gone"])
def test_a_spoiled_one_costs_a_step_and_not_the_work(tmp_path, spoil):
    trained(5, tmp_path)
    last = tmp_path / "weights-5.safetensors"
    content = bytearray(last.read_bytes())
    if spoil == "gone":
        last.unlink()
    else:
        content[-7] ^= 1
        last.write_bytes(content[: len(content) // 2] if spoil == "cut" else content)
    meta, back = restored(tmp_path)
    assert meta["step"] == 4 and same(trained(4)[0], back)


@pytest.mark.parametrize("call", ["save_file", "fsync", "replace", "write_text"])
def test_a_full_disk_leaves_the_one_before(tmp_path, monkeypatch, call):
    model, optimizer = trained(3, tmp_path)

    def full(*args, **kwargs):
        if call == "save_file":  # half of it is on the disk by then
            with open(args[1], "wb") as out:
                out.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        where = {"save_file": checkpoint, "fsync": os, "replace": os, "write_text": checkpoint.Path}[call]
        patched.setattr(where, call, full)
        with pytest.raises(OSError, match="No space left"):
            checkpoint.save(tmp_path, model, [optimizer], {"step": 4})
    meta, back = restored(tmp_path)
    assert meta["step"] == 3 and same(model, back)
    assert not list(tmp_path.glob(".*")), "nothing half written is left"
    checkpoint.save(tmp_path, model, [optimizer], {"step": 4})
    assert restored(tmp_path)[0]["step"] == 4


def test_a_kill_between_any_two_steps_of_writing_leaves_a_whole_one(tmp_path, monkeypatch):
    """Every replacement and sync is a moment to die at."""
    model, optimizer = trained(2, tmp_path)

    class Killed(BaseException):
        pass

    for moment in range(12):
        calls = [0]

        def dies(real):
            def call(*args, **kwargs):
                calls[0] += 1  # noqa: B023
                if calls[0] > moment:  # noqa: B023
                    os.unlink = lambda *a, **k: None  # a killed process cleans nothing up
                    raise Killed
                return real(*args, **kwargs)

            return call

        unlink = os.unlink
        with monkeypatch.context() as patched:
            patched.setattr(checkpoint.os, "replace", dies(os.replace))
            patched.setattr(checkpoint.os, "fsync", dies(os.fsync))
            try:
                checkpoint.save(tmp_path, model, [optimizer], {"step": 3 + moment})
            except Killed:
                pass
            finally:
                os.unlink = unlink
        meta, back = restored(tmp_path)
        assert meta["step"] >= 2 and same(model, back)


def test_what_is_no_checkpoint_counts_as_none(tmp_path):
    assert restored(tmp_path)[0] is None
    (tmp_path / "checkpoint.json").write_text('{"file": 3}')
    assert restored(tmp_path)[0] is None
