"""Reading published checkpoints without running them, and loading them with nothing left over."""

import argparse

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.models.checkpoints import load_exactly, read_state_dict, strip_prefix

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"model": s, "epoch": 3}, lambda s: {"student": {"model": s}}]
)
def test_the_tensors_are_found_wherever_scripts_put_them(tmp_path, wrap):
    path = tmp_path / "weights.pth"
    torch.save(wrap(STATE), path)
    found = read_state_dict(path)
    assert found.keys() == STATE.keys()
    assert torch.equal(found["weight"], STATE["weight"])


def test_safetensors(tmp_path):
    save_file(STATE, tmp_path / "weights.safetensors")
    assert torch.equal(read_state_dict(tmp_path / "weights.safetensors")["bias"], STATE["bias"])
    (tmp_path / "bad.safetensors").write_bytes(b"not")
    with pytest.raises(CorruptFileError, match="no safetensors file"):
        read_state_dict(tmp_path / "bad.safetensors")


class Payload:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


def test_a_pickle_that_holds_code_is_refused_and_not_run(tmp_path):
    torch.save({"model": STATE, "extra": Payload()}, tmp_path / "evil.pth")
    with pytest.raises(CorruptFileError, match="Nothing of it was run"):
        read_state_dict(tmp_path / "evil.pth")


def test_classes_pass_only_where_they_are_allowed(tmp_path):
    torch.save({"student": STATE, "args": argparse.Namespace(lr=1)}, tmp_path / "units.pth")
    with pytest.raises(CorruptFileError, match="argparse"):
        read_state_dict(tmp_path / "units.pth")
    assert read_state_dict(tmp_path / "units.pth", allowed=[argparse.Namespace]).keys() == STATE.keys()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x80\x02garbage"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "cut.pth").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"cut\.pth"):
        read_state_dict(tmp_path / "cut.pth")


def test_what_holds_no_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(CorruptFileError, match="no state dictionary"):
        read_state_dict(tmp_path / "empty.pth")
    with pytest.raises(OptionError, match="is no file"):
        read_state_dict(tmp_path / "absent.pth")


def test_prefixes():
    state = {"model.module.a": 1, "module.b": 2, "c": 3}
    assert strip_prefix(state, "model.module.", "module.") == {"a": 1, "b": 2, "c": 3}


def test_loading_is_all_or_nothing():
    layer = nn.Linear(3, 2)
    load_exactly(
        layer,
        {"module.weight": STATE["weight"], "module.bias": STATE["bias"], "index": torch.tensor(1)},
        rename=lambda name: None if name == "index" else name.removeprefix("module."),
    )
    assert torch.equal(layer.weight, STATE["weight"])
    before = layer.weight.clone()
    other = {"weight": torch.zeros(4, 3), "extra": torch.zeros(1)}
    with pytest.raises(CorruptFileError, match=r"1 missing \(bias\); 1 left over \(extra\); 1 of another shape"):
        load_exactly(layer, other)
    assert torch.equal(layer.weight, before)
    load_exactly(layer, {"weight": torch.zeros(2, 3)}, fresh=["bias"])
    assert torch.equal(layer.bias, STATE["bias"])
