"""What encoders of convolutions and batch norms share: initial weights, recomputed layers."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

__all__ = ["ConvolutionalPreTrainedModel", "FirstPass", "first_pass", "init_bias", "normed_once", "torch_init"]

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class FirstPass:
    """Tells the first pass through a layer from the later ones, which only recompute its activations.

    Gradient checkpointing runs a layer again in the backward pass. A batch norm would then count the same batch twice
    in its running statistics. One of these per call of the layer, see `first_pass`, prevents that.
    """

    def __init__(self) -> None:
        self.is_over = False

    @contextmanager
    def of(self, layer: nn.Module) -> Iterator[None]:
        """Run a pass of a layer; from the second on, its batch norms keep their running statistics and counters.

        They still normalise by the statistics of the batch. A momentum of 0 rather than `track_running_stats=False`:
        that would save fewer tensors than the first pass, which `torch.utils.checkpoint` takes for a mistake.

        Args:
            layer (`nn.Module`): the layer, with batch norms of any kind.
        """
        norms = [norm for norm in layer.modules() if isinstance(norm, _NORMS)] if self.is_over else []
        kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
        self.is_over = True
        for norm in norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None
        try:
            yield
        finally:  # also where the recomputation stops early, which it does by an exception
            for norm, momentum, count in kept:
                norm.momentum, norm.num_batches_tracked = momentum, count


def first_pass(layer: nn.Module) -> FirstPass | None:
    """Return what a checkpointed layer of batch norms is called with, anew for each call.

    Args:
        layer (`nn.Module`): a `GradientCheckpointingLayer`.

    Returns:
        `FirstPass`, or `None` where no activation is recomputed, or where a compiled graph does it, which updates
        running statistics once by itself.
    """
    recomputes = layer.training and getattr(layer, "gradient_checkpointing", False)
    return FirstPass() if recomputes and not torch.compiler.is_compiling() else None


def normed_once(layer: nn.Module, once: FirstPass | None) -> AbstractContextManager[None]:
    """Return the context in which a layer computes: `once.of(layer)`, or nothing.

    Args:
        layer (`nn.Module`): the layer.
        once (`FirstPass`, *optional*): of `first_pass`.

    Returns:
        A context manager.
    """
    return nullcontext() if once is None else once.of(layer)


def torch_init(module: nn.Module) -> None:
    """Give a convolution, a linear layer or an LSTM torch's own initial weights, from which the originals start.

    Args:
        module (`nn.Module`): one of these layers.
    """
    if isinstance(module, nn.LSTM):
        bound = 1 / math.sqrt(module.hidden_size)
        for parameter in module.parameters():
            init.uniform_(parameter, -bound, bound)
    elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        init.kaiming_uniform_(module.weight, a=math.sqrt(5))
        init_bias(module)


def init_bias(module: nn.Conv1d | nn.Conv2d | nn.Linear) -> None:
    """Draw a bias from U(-b, b) with b = 1 / √(inputs of an output), torch's own choice.

    Args:
        module (`nn.Module`): a convolution or a linear layer.
    """
    if module.bias is not None:
        bound = 1 / math.sqrt(math.prod(module.weight.shape[1:]))
        init.uniform_(module.bias, -bound, bound)


class ConvolutionalPreTrainedModel(PreTrainedModel):
    """Base of the encoders here: batch norms at 1 and 0, a head of `initializer_range`, the rest as torch has it."""

    main_input_name = "signal"
    input_modalities = ("time",)  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    #: The loss is a mean already; the Trainer must not divide it again.
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.LSTM) or getattr(module, "of_encoder", False):
            torch_init(module)
        else:
            super()._init_weights(module)
