"""`climb_hf.training.soap` against the reference algorithm, another implementation, and hand-computed steps."""

import io
import math

import numpy as np
import pytest
import torch
from torch import nn

from climb_hf.errors import OptionError, TrainingError
from climb_hf.training import soap as module
from climb_hf.training.eigenbasis import merged_shape, refresh_probability
from climb_hf.training.soap import SOAP, soap_parameter_groups

SHAPES = [(6, 6), (5, 8), (4, 4, 3, 3), (7,)]


def random_walk(optimizer, parameters, steps, seed=0):
    """Step on full-rank random gradients that do not depend on the parameters."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
        optimizer.step()


def fresh(shapes=SHAPES, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


@pytest.mark.parametrize("frequency", [1, 10])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("precondition_1d", [False, True])
def test_equals_pytorch_optimizer(frequency, weight_decay, precondition_1d):
    oracle = pytest.importorskip("pytorch_optimizer").SOAP
    ours, theirs = fresh(), fresh()
    options = {
        "lr": 1e-2,
        "weight_decay": weight_decay,
        "precondition_frequency": frequency,
        "precondition_1d": precondition_1d,
    }
    random_walk(SOAP(ours, **options), ours, 200)
    random_walk(oracle(theirs, max_precondition_dim=2048, merge_dims=False, **options), theirs, 200)
    start = fresh()
    for mine, other, before in zip(ours, theirs, start, strict=True):
        assert (mine - other).abs().max() <= 1e-4
        assert (mine - before).abs().max() > 0.1  # they did move


def reference(weights, gradients, shape, *, lr, betas, shampoo_beta, eps, decay, frequency, normalize, correct):
    """The algorithm of the paper's code, transcribed to numpy over explicit axes; `shape` is the merged one."""
    p = weights.reshape(shape).copy()
    axes = range(p.ndim)
    m, v = np.zeros(shape), np.zeros(shape)
    covariance = [np.zeros((side, side)) for side in shape]

    def outer(g, axis):
        rows = np.moveaxis(g, axis, 0).reshape(g.shape[axis], -1)
        return rows @ rows.T

    def turn(x, bases):
        for axis in axes:
            x = np.moveaxis(np.tensordot(bases[axis].T, x, (1, axis)), 0, axis)
        return x

    bases = None
    for t, g in enumerate(gradients):
        g = g.reshape(shape)
        if t:
            turned = turn(g, bases)
            m = betas[0] * m + (1 - betas[0]) * turned
            v = betas[1] * v + (1 - betas[1]) * turned**2
            direction = turn(m / (np.sqrt(v) + eps), [basis.T for basis in bases])
            if normalize:
                direction = direction / np.sqrt(np.mean(direction**2))
            size = lr * (math.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t) if correct else 1)
            p = (p - size * direction) * (1 - lr * decay)
            m = turn(m, [basis.T for basis in bases])
        covariance = [
            shampoo_beta * c + (1 - shampoo_beta) * outer(g, k) for k, c in zip(axes, covariance, strict=True)
        ]
        if t == 0:
            bases = [np.linalg.eigh(c)[1][:, ::-1] for c in covariance]
            continue
        if t % frequency == 0:
            for axis in axes:
                estimate = np.diag(bases[axis].T @ covariance[axis] @ bases[axis])
                order = np.argsort(-estimate)
                v = np.take(v, order, axis=axis)
                bases[axis] = np.linalg.qr((covariance[axis] @ bases[axis])[:, order])[0]
        m = turn(m, bases)
    return p.reshape(weights.shape)


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize(("normalize", "correct"), [(False, True), (True, False)])
def test_equals_the_algorithm_in_numpy(merge, normalize, correct):
    rng = np.random.default_rng(2)
    weights, gradients = rng.normal(size=(2, 3, 6)), rng.normal(size=(40, 2, 3, 6))
    shape = merged_shape(weights.shape, 6) if merge else list(weights.shape)
    assert shape == ([6, 6] if merge else [2, 3, 6])  # every first covariance has full rank, so its basis is unique
    parameter = nn.Parameter(torch.tensor(weights))
    optimizer = SOAP(
        [parameter],
        lr=0.03,
        betas=(0.9, 0.95),
        shampoo_beta=0.8,
        weight_decay=0.1,
        precondition_frequency=3,
        max_precond_dim=6,
        merge_dims=merge,
        normalize_grads=normalize,
        correct_bias=correct,
    )
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
    expected = reference(
        weights,
        gradients,
        shape,
        lr=0.03,
        betas=(0.9, 0.95),
        shampoo_beta=0.8,
        eps=1e-8,
        decay=0.1,
        frequency=3,
        normalize=normalize,
        correct=correct,
    )
    np.testing.assert_allclose(parameter.detach().numpy(), expected, atol=1e-8)


def test_two_steps_by_hand():
    # u = (1, 1) / sqrt 2, w = (1, -1) / sqrt 2. First gradient 2 uu' + ww' fixes the basis u, w and moves nothing.
    # Second gradient 3 uu' - ww' is diag(3, -1) there; bias-corrected Adam makes it diag(1, -1) = uu' - ww' outside.
    parameter = nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    optimizer = SOAP([parameter], lr=0.1, weight_decay=0.5)
    parameter.grad = torch.tensor([[1.5, 0.5], [0.5, 1.5]], dtype=torch.float64)
    optimizer.step()
    assert torch.equal(parameter, torch.ones(2, 2))
    parameter.grad = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    optimizer.step()
    expected = (1 - 0.1 * torch.tensor([[0.0, 1.0], [1.0, 0.0]])) * (1 - 0.1 * 0.5)
    torch.testing.assert_close(parameter.detach(), expected.double(), atol=1e-6, rtol=0)
    covariance = 0.95 * 0.05 * torch.tensor([[2.5, 1.5], [1.5, 2.5]]) + 0.05 * torch.tensor([[5.0, 4.0], [4.0, 5.0]])
    torch.testing.assert_close(optimizer.state[parameter]["covariances"][0], covariance.double())


def test_one_dimensional_parameters_are_plain_adam_one_step_late():
    ours, theirs = nn.Parameter(torch.tensor([1.0, -2.0])), nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = SOAP([ours], lr=0.1, betas=(0.9, 0.99), weight_decay=0)
    adam = torch.optim.Adam([theirs], lr=0.1, betas=(0.9, 0.99))
    gradients = torch.randn(20, 2, generator=torch.Generator().manual_seed(3))
    ours.grad = torch.tensor([5.0, 5.0])
    optimizer.step()
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        adam.step()
    # Adam adds eps after the bias correction, SOAP before it
    torch.testing.assert_close(ours.detach(), theirs.detach(), atol=1e-5, rtol=0)
    assert optimizer.state[ours]["bases"] == [None]


def test_state_per_axis_follows_the_options():
    wide, tall = nn.Parameter(torch.zeros(3, 9)), nn.Parameter(torch.zeros(2, 3, 4))
    vector, scalar = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(()))
    optimizer = SOAP([{"params": [wide, scalar]}, {"params": [tall, vector], "merge_dims": True}], max_precond_dim=8)
    random_walk(optimizer, [wide, tall, vector, scalar], 3)
    sides = {
        name: [None if basis is None else tuple(basis.shape) for basis in optimizer.state[parameter]["bases"]]
        for name, parameter in (("wide", wide), ("tall", tall), ("vector", vector), ("scalar", scalar))
    }
    assert sides == {"wide": [(3, 3), None], "tall": [(6, 6), (4, 4)], "vector": [None], "scalar": []}
    assert scalar.item() != 0
    for basis in (optimizer.state[tall]["bases"][0], optimizer.state[wide]["bases"][0]):
        torch.testing.assert_close(basis.T @ basis, torch.eye(len(basis)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("shape", "limit", "merged"),
    [
        ((64, 32, 3, 3), 2048, [2048, 9]),
        ((4, 4, 3, 3), 10, [4, 4, 9]),
        ((5000, 3), 2048, [5000, 3]),
        ((3, 5000, 3), 2048, [3, 5000, 3]),
        ((1, 1), 10, [1]),
        ((2, 3), 10, [6]),
    ],
)
def test_merged_shape(shape, limit, merged):
    assert merged_shape(shape, limit) == merged


def test_each_parameter_counts_its_own_steps():
    early, late = fresh([(3, 3), (3, 3)])
    optimizer = SOAP([early, late], lr=0.1)
    random_walk(optimizer, [early], 5)
    before = late.detach().clone()
    assert late not in optimizer.state
    random_walk(optimizer, [early, late], 1)  # the first gradient of `late` only sets up its basis
    assert torch.equal(late, before)
    random_walk(optimizer, [early, late], 2)
    assert (optimizer.state[early]["step"], optimizer.state[late]["step"]) == (7, 2)
    assert not torch.equal(late, before)


def refresh_steps(last):
    """Steps at which the schedule of the CLIMB paper refreshes."""
    state, due = {"refreshes_due": 0.0}, []
    for step in range(1, last + 1):
        state["step"] = step
        if module._is_due(state, {"precondition_schedule": (1 / 3, 9)}):
            due.append(step)
    return due


def test_schedule_becomes_rare():
    steps = np.array(refresh_steps(34_000))
    assert steps[:40].tolist() == [1, *range(3, 42)]  # the sum at step 2 is just short of 2
    assert np.count_nonzero(steps <= 200) >= 190
    around = steps[(steps > 900) & (steps <= 1100)]
    assert len(around) == pytest.approx(100, abs=2)  # every 2nd
    gaps = np.diff(steps[steps > 31_000])
    assert np.mean(gaps) == pytest.approx(39.5, abs=1)
    total = sum(refresh_probability(step) for step in range(1, 34_001))
    assert len(steps) == math.floor(total)
    assert refresh_probability(1_000_000) == pytest.approx(1 / 513)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"precondition_frequency": 4}, [4, 8, 12]),
        ({"precondition_frequency": 4, "precondition_schedule": (0.9, 2)}, None),
    ],
)
def test_refreshes_happen_when_they_are_due(monkeypatch, options, expected):
    seen, real = [], module.refresh
    monkeypatch.setattr(module, "refresh", lambda state: (seen.append(state["step"]), real(state)))
    (parameter,) = fresh([(3, 4)])
    random_walk(SOAP([parameter], **options), [parameter], 14)
    if expected is None:
        sums = np.cumsum([refresh_probability(step, 0.9, 2) for step in range(1, 14)])
        expected = (np.flatnonzero(np.diff(np.floor(sums), prepend=0)) + 1).tolist()
        assert 3 < len(expected) < 13
    assert seen == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_resume_equals_an_uninterrupted_run(dtype):
    options = {"lr": 0.05, "merge_dims": True, "precondition_schedule": (0.9, 2), "precondition_1d": True}
    shapes = [(6, 4, 3), (5,), (2, 2)]
    whole, first = fresh(shapes, dtype), fresh(shapes, dtype)
    straight, before = SOAP(whole, **options), SOAP(first, **options)
    for optimizer, parameters in ((straight, whole), (before, first)):
        random_walk(optimizer, parameters[:2], 9, seed=4)  # the third parameter has no state yet
    buffer = io.BytesIO()
    torch.save({"state": before.state_dict(), "weights": [value.detach() for value in first]}, buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    second = [nn.Parameter(value) for value in saved["weights"]]
    after = SOAP(second, lr=1.0)
    after.load_state_dict(saved["state"])
    wide = torch.promote_types(dtype, torch.float32)
    assert after.state[second[0]]["mean"].dtype == after.state[second[0]]["bases"][0].dtype == wide
    assert after.state[second[0]]["covariances"][0] is not saved["state"]["state"][0]["covariances"][0]
    for optimizer, parameters in ((straight, whole), (after, second)):
        random_walk(optimizer, parameters, 9, seed=5)
    for resumed, uninterrupted in zip(second, whole, strict=True):
        assert torch.equal(resumed, uninterrupted)
    assert repr(after.state_dict()) == repr(straight.state_dict())


def test_low_precision_parameters_follow_the_float32_trajectory():
    low, high = fresh([(8, 8)], torch.bfloat16), fresh([(8, 8)], torch.bfloat16)
    high = [nn.Parameter(value.detach().float()) for value in high]
    coarse = SOAP(low, lr=0.01)
    random_walk(coarse, low, 30)
    generator = torch.Generator().manual_seed(0)
    optimizer = SOAP(high, lr=0.01)
    for _ in range(30):
        high[0].grad = torch.randn(8, 8, generator=generator).bfloat16().float()
        optimizer.step()
    assert low[0].dtype == torch.bfloat16
    for name in ("mean", "square"):  # the state sees the same gradients, in float32
        assert torch.equal(left := optimizer.state[high[0]][name], coarse.state[low[0]][name])
        assert left.dtype == torch.float32
    assert (low[0].float() - high[0]).abs().max() < 0.1  # 30 roundings to 8 bits


def test_parameter_groups():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2), nn.LayerNorm(2))
    model[3].weight.requires_grad_(False)
    decayed, rest = soap_parameter_groups(model, weight_decay=0.1)
    assert [id(value) for value in decayed["params"]] == [id(model[0].weight)]
    kept = [model[0].bias, model[1].weight, model[1].bias, model[3].bias, model[4].weight, model[4].bias]
    assert [id(value) for value in rest["params"]] == [id(value) for value in kept]
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    optimizer = SOAP([decayed, rest], lr=0.1)
    values = [value for group in optimizer.param_groups for value in group["params"]]
    before = [value.detach().clone() for value in values]
    for _ in range(2):
        for value in values:
            value.grad = torch.zeros_like(value)
        optimizer.step()
    torch.testing.assert_close(values[0].detach(), before[0] * (1 - 0.1 * 0.1))
    assert all(torch.equal(value, old) for value, old in zip(values[1:], before[1:], strict=True))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lr": -1.0}, "`lr` must be 0 or more, found -1.0"),
        ({"betas": (0.9, 1.0)}, "`betas`"),
        ({"betas": (0.9,)}, "`betas`"),
        ({"shampoo_beta": 1.0}, "`shampoo_beta`"),
        ({"eps": -1e-8}, "`eps`"),
        ({"weight_decay": -0.1}, "`weight_decay`"),
        ({"precondition_frequency": 0}, "`precondition_frequency`"),
        ({"max_precond_dim": 0}, "`max_precond_dim`"),
        ({"precondition_schedule": (1.0,)}, "`precondition_schedule`"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(OptionError, match=text):
        SOAP(fresh([(2, 2)]), **options)
    with pytest.raises(OptionError, match=text):
        SOAP([{"params": fresh([(2, 2)]), **options}])


def test_sparse_complex_and_non_finite_are_refused():
    embedding = nn.Embedding(4, 2, sparse=True)
    optimizer = SOAP(embedding.parameters())
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(TrainingError, match="sparse=False"):
        optimizer.step()
    with pytest.raises(OptionError, match="complex"):
        SOAP([nn.Parameter(torch.zeros(2, dtype=torch.complex64))])
    (parameter,) = fresh([(2, 2)])
    optimizer = SOAP([parameter])
    parameter.grad = torch.full((2, 2), torch.nan)
    with pytest.raises(TrainingError, match=r"shape \(2, 2\) is not finite"):
        optimizer.step()
    assert not optimizer.state[parameter]


@pytest.mark.parametrize("mark", ["_fsdp_flattened", "_is_flat_param", "ds_id"])
def test_flat_parameters_are_refused(mark):
    (parameter,) = fresh([(6,)])
    setattr(parameter, mark, 1)
    with pytest.raises(OptionError, match=r"sharded one of local shape \(6,\).*DDP"):
        SOAP([parameter])


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch has no torch.distributed")
def test_dtensors_are_refused():
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        shared = distribute_tensor(torch.zeros(4, 2), init_device_mesh("cpu", (1,)), [Shard(0)])
        with pytest.raises(OptionError, match="DTensor"):
            SOAP([nn.Parameter(shared)])
    finally:
        torch.distributed.destroy_process_group()


def test_closure_is_evaluated_with_gradients():
    (parameter,) = fresh([(2, 2)])
    optimizer = SOAP([parameter])

    def closure():
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx(parameter.square().sum().item())
    assert optimizer.step() is None


def test_beats_adam_on_a_rotated_ill_conditioned_quadratic():
    generator = torch.Generator().manual_seed(6)
    sides = [torch.linalg.qr(torch.randn(16, 16, generator=generator)).Q for _ in range(2)]
    left, right = (side * torch.logspace(0, -1.5, 16) @ side.T for side in sides)
    target = torch.randn(16, 16, generator=generator)

    def final_loss(make, lr, steps=400):
        weight = nn.Parameter(torch.zeros(16, 16))
        optimizer = make([weight], lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (left @ (weight - target) @ right).square().mean()
            loss.backward()
            optimizer.step()
            schedule.step()
        return loss.item()

    rates = (0.01, 0.03, 0.1)
    adam = min(final_loss(lambda p, lr: torch.optim.Adam(p, lr, betas=(0.95, 0.95)), lr) for lr in rates)
    ours = min(final_loss(lambda p, lr: SOAP(p, lr, weight_decay=0), lr) for lr in rates)
    assert ours < adam / 10
