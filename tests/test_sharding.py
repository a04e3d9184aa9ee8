"""Parameters sharded over two processes (FSDP2) on the CPU: the same loss and the same gradient as in one process."""

import json
import os
import socket
from pathlib import Path

import pytest
import torch

from climb_hf.models import (
    ClimbVisionConfig,
    ClimbVisionForClassification,
    EcgJepaConfig,
    EcgJepaForClassification,
)

VOCABULARY = {"vocabulary": ["a", "b", "c"]}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "signal_length": 100, "patch_size": 20}


def build(name):
    torch.manual_seed(0)
    if name == "vision":
        model = ClimbVisionForClassification(ClimbVisionConfig(backbone="timm/test_vit", image_size=32, **VOCABULARY))
        return model.train(), list(model.climb_vision.backbone.blocks), {"pixel_values": torch.randn(4, 3, 32, 32)}
    model = EcgJepaForClassification(EcgJepaConfig(**SIZES, **VOCABULARY))
    return model.train(), list(model.ecg_jepa.encoder.blocks), {"signal": torch.randn(4, 8, 100)}


def _process(rank, name, folder, port):
    from torch.distributed.fsdp import fully_shard

    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    mesh = torch.distributed.init_device_mesh("cpu", (2,))
    model, blocks, inputs = build(name)
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    mine = {key: value[rank * 2 : rank * 2 + 2] for key, value in inputs.items()}
    loss = model(**mine, labels=torch.tensor([0, 1, 2, 0])[rank * 2 : rank * 2 + 2]).loss
    loss.backward()
    whole = {n: p.grad.full_tensor().tolist() for n, p in model.named_parameters() if n == "classifier.weight"}
    local = sum(p.to_local().numel() for p in model.parameters())
    (Path(folder) / f"rank{rank}.json").write_text(json.dumps({"loss": loss.item(), "grad": whole, "local": local}))
    torch.distributed.barrier()
    os._exit(0)  # gloo's threads abort now and then when the interpreter takes them down


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vision", "ecg_jepa"])
def test_two_shards_equal_one_process(tmp_path, name):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_process, (name, str(tmp_path), port), nprocs=2)
    found = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    model, _, inputs = build(name)
    loss = model(**inputs, labels=torch.tensor([0, 1, 2, 0])).loss
    loss.backward()
    assert (found[0]["loss"] + found[1]["loss"]) / 2 == pytest.approx(loss.item(), rel=1e-5)
    expected = model.classifier.weight.grad
    for rank in found:
        torch.testing.assert_close(torch.tensor(rank["grad"]["classifier.weight"]), expected, rtol=1e-4, atol=1e-6)
        assert rank["local"] < 0.6 * model.num_parameters()
