"""The masked loss against values worked out by hand and against PyTorch's own losses."""

import math

import pytest
import torch
from torch.nn import functional

from climb_hf.errors import SchemaError
from climb_hf.training.losses import (
    class_weights_from_counts,
    masked_classification_loss,
    masked_row_losses,
    valid_rows,
)


def softplus(value):
    return math.log1p(math.exp(value))


LOGITS = [[2.0, -1.0, 0.5, 3.0], [0.0, 1.0, -2.0, 4.0]]
LABELS = [[1, 0, 0, 1], [0, 1, 0, 0]]
MASK = [[1, 1, 0, 0], [1, 1, 1, 0]]


def batch(dtype=torch.float32):
    logits = torch.tensor(LOGITS, dtype=dtype, requires_grad=True)
    return logits, torch.tensor(LABELS), torch.tensor(MASK).bool(), torch.tensor([False, True])


def test_binary_and_softmax_rows_by_hand():
    rows, valid = masked_row_losses(*batch())
    binary = (softplus(-2.0) + softplus(-1.0)) / 2
    softmax = math.log(math.exp(0.0) + math.exp(1.0) + math.exp(-2.0)) - 1.0
    assert valid.tolist() == [True, True]
    assert rows.tolist() == pytest.approx([binary, softmax], rel=1e-6)
    assert masked_classification_loss(*batch()).item() == pytest.approx((binary + softmax) / 2, rel=1e-6)


def test_gradient_by_hand_and_exactly_zero_outside():
    logits, labels, mask, exclusive = batch()
    masked_classification_loss(logits, labels, mask, exclusive).backward()
    gradient = logits.grad
    assert gradient[~mask].tolist() == [0.0, 0.0, 0.0]
    sigmoid = [1 / (1 + math.exp(-2.0)) - 1, 1 / (1 + math.exp(1.0))]
    assert gradient[0, :2].tolist() == pytest.approx([value / 4 for value in sigmoid], rel=1e-5)
    total = sum(math.exp(value) for value in LOGITS[1][:3])
    probability = [math.exp(value) / total for value in LOGITS[1][:3]]
    expected = [probability[0] / 2, (probability[1] - 1) / 2, probability[2] / 2]
    assert gradient[1, :3].tolist() == pytest.approx(expected, rel=1e-5)


def test_equal_to_pytorch_on_whole_vocabulary():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, generator=generator)
    classes = torch.randint(5, (6,), generator=generator)
    labels = functional.one_hot(classes, 5)
    every = torch.ones(6, dtype=torch.bool)
    torch.testing.assert_close(
        masked_classification_loss(logits, labels, None, every), functional.cross_entropy(logits, classes)
    )
    torch.testing.assert_close(
        masked_classification_loss(logits, labels),
        functional.binary_cross_entropy_with_logits(logits, labels.float()),
    )


def test_rows_that_are_not_valid():
    labels = torch.tensor([[1, 0, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0], [0, 0, 0], [1, 1, 1]])
    mask = torch.tensor([[0, 0, 0], [1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 0, 0]]).bool()
    exclusive = torch.tensor([False, True, True, True, False, True])
    # empty mask; positive outside V_k; two positives; none; multi-label without positives is fine; one inside V_k
    assert valid_rows(labels, mask, exclusive).tolist() == [False, False, False, False, True, True]
    logits = torch.full((6, 3), 1.5, requires_grad=True)
    loss = masked_classification_loss(logits, labels, mask, exclusive)
    assert loss.item() == pytest.approx((softplus(1.5) + 0.0) / 2, rel=1e-6)
    loss.backward()
    assert not logits.grad[:4].any()
    assert logits.grad[4].all()


def test_no_valid_row_gives_zero_with_a_graph():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = masked_classification_loss(logits, torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool))
    assert loss.item() == 0.0
    loss.backward()
    assert logits.grad.tolist() == torch.zeros(2, 3).tolist()


def test_parts_add_up_to_the_whole():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(8, 4, generator=generator)
    labels = torch.randint(2, (8, 4), generator=generator)
    mask = torch.rand(8, 4, generator=generator) > 0.4
    mask[2] = False
    exclusive = torch.tensor([True, False] * 4)
    items = valid_rows(labels, mask, exclusive).sum()
    whole = masked_classification_loss(logits, labels, mask, exclusive)
    parts = [
        masked_classification_loss(
            logits[part], labels[part], mask[part], exclusive[part], num_items_in_batch=items.float()
        )
        for part in (slice(0, 3), slice(3, 5), slice(5, 8))
    ]
    assert 0 < items < 8
    torch.testing.assert_close(sum(parts), whole)


def test_class_weights_touch_binary_rows_only():
    logits, labels, mask, exclusive = batch()
    weights = torch.tensor([3.0, 0.5, 7.0, 9.0])
    rows, _ = masked_row_losses(logits, labels, mask, exclusive, class_weights=weights)
    plain, _ = masked_row_losses(logits, labels, mask, exclusive)
    assert rows[0].item() == pytest.approx((3.0 * softplus(-2.0) + 0.5 * softplus(-1.0)) / 2, rel=1e-6)
    assert rows[1].item() == plain[1].item()


def test_class_weights_are_inverse_frequencies():
    weights = class_weights_from_counts(torch.tensor([1, 4, 8, 0]), 8)
    assert weights.tolist() == [8.0, 2.0, 1.0, 1.0]
    assert weights.dtype == torch.float32
    with pytest.raises(SchemaError, match="count the labels of the training split"):
        class_weights_from_counts([1], 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("exclusive", [True, False])
def test_non_finite_logits_inside_show(value, exclusive):
    labels = torch.tensor([[0.0, 1.0]])
    logits = torch.tensor([[0.5, value]] if value != float("inf") else [[value, 0.5]])
    assert not masked_classification_loss(logits, labels, None, torch.tensor([exclusive])).isfinite()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e30])
def test_non_finite_logits_outside_do_nothing(value):
    logits, labels, mask, exclusive = batch()
    expected = masked_classification_loss(logits, labels, mask, exclusive).item()
    poisoned = torch.where(mask, logits.detach(), value).requires_grad_()
    loss = masked_classification_loss(poisoned, labels, mask, exclusive)
    loss.backward()
    assert loss.item() == expected
    assert poisoned.grad[~mask].tolist() == [0.0, 0.0, 0.0]
    assert poisoned.grad.isfinite().all()


def test_bfloat16_logits_are_scored_in_float32():
    logits = torch.full((1, 300), 0.01, dtype=torch.bfloat16)
    labels = torch.zeros(1, 300)
    labels[0, 0] = 1
    loss = masked_classification_loss(logits, labels, None, torch.tensor([True]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(300), rel=1e-6)


def test_large_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4], [1e4, -1e4]], requires_grad=True)
    labels = torch.tensor([[1, 0], [0, 1]])
    for exclusive, expected in ((True, 1e4), (False, 5e3)):
        loss = masked_classification_loss(logits, labels, None, torch.tensor([exclusive] * 2))
        loss.backward()
        assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert logits.grad.isfinite().all()


def test_probabilities_as_labels_of_binary_rows():
    loss = masked_classification_loss(torch.zeros(1, 2), torch.tensor([[0.25, 0.75]]))
    assert loss.item() == pytest.approx(math.log(2), rel=1e-6)


def test_shapes_that_do_not_fit():
    with pytest.raises(SchemaError, match=r"config\.vocabulary"):
        masked_classification_loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(SchemaError, match="`target_mask` must have the shape"):
        masked_classification_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 2))
    with pytest.raises(SchemaError, match="`target_mask` must have the shape"):
        valid_rows(torch.zeros(2, 3), None, torch.ones(3))
    with pytest.raises(SchemaError, match=r"must be \(batch, classes\)"):
        valid_rows(torch.zeros(3))
