"""MedViT as a straightforward port writes it, with the weights of our model, to compare speeds.

The layers (linear, norm, convolution) are ours, so both sides have the same weights and the same gradients.
"""

import torch
import torch.nn.functional as F
from plain_ecg import attend, heads_apart
from torch import Tensor, nn


def plain_drop(update: Tensor, probability: float, training: bool) -> Tensor:
    """Stochastic depth: branches of whole pictures."""
    if not training or probability == 0:
        return update
    kept = (torch.rand(len(update), 1, 1, 1) >= probability).to(update.dtype)
    return update / (1 - probability) * kept


def plain_embedding(embedding: nn.Module, maps: Tensor) -> Tensor:
    """Pool, 1×1 convolution, norm; nothing where the shape stays."""
    if isinstance(embedding, nn.Identity):
        return maps
    if embedding.pool:
        maps = F.avg_pool2d(maps, 2, 2, ceil_mode=True, count_include_pad=False)
    return embedding.norm(embedding.conv(maps))


def plain_local_attention(layer: nn.Module, maps: Tensor) -> Tensor:
    """Convolution in groups, norm, ReLU, 1×1 convolution."""
    return layer.projection(F.relu(layer.norm(layer.grouped(maps))))


def plain_feed_forward(layer: nn.Module, maps: Tensor) -> Tensor:
    """The local feed-forward layer with its squeeze-and-excite gate."""
    hidden = F.hardswish(layer.widen_norm(layer.widen(maps)))
    hidden = F.hardswish(layer.depthwise_norm(layer.depthwise(hidden)))
    gate = hidden.mean((2, 3))
    gate = F.hardsigmoid(layer.excite(F.relu(layer.squeeze(gate))))
    return maps + layer.narrow_norm(layer.narrow(hidden * gate[:, :, None, None]))


def plain_tokens(layer: nn.Module, tokens: Tensor) -> Tensor:
    """Attention whose keys and values are means over runs of tokens."""
    context = tokens
    if layer.norm is not None:
        context = layer.norm(F.avg_pool1d(tokens.transpose(1, 2), layer.run, layer.run)).transpose(1, 2)
    parts = (layer.query(tokens), layer.key(context), layer.value(context))
    query, key, value = (heads_apart(part, 1, layer.heads)[0] for part in parts)
    return layer.output(attend(query, key, value).transpose(1, 2).flatten(2))


def plain_medvit_block(block: nn.Module, maps: Tensor) -> Tensor:
    """A convolutional block, or a transformer block."""
    maps = plain_embedding(block.patch_embedding, maps)
    if not hasattr(block, "attention"):
        maps = maps + plain_drop(plain_local_attention(block.local_attention, maps), block.drop, block.training)
        return maps + plain_feed_forward(block.feed_forward, block.norm(maps))
    update = plain_tokens(block.attention, block.norm1(maps).flatten(2).transpose(1, 2))
    update = update.transpose(1, 2).reshape(maps.shape)
    maps = maps + plain_drop(update, block.global_drop, block.training)
    local = plain_embedding(block.projection, maps)
    update = plain_local_attention(block.local_attention, local)
    maps = torch.cat([maps, local + plain_drop(update, block.local_drop, block.training)], 1)
    return maps + plain_feed_forward(block.feed_forward, block.norm2(maps))


def plain_medvit(model: nn.Module, pixel_values: Tensor) -> Tensor:
    """Logits of `MedVitForClassification`, pictures only."""
    maps = pixel_values
    for layer in model.medvit.stem:
        maps = F.relu(layer.norm(layer.conv(maps)))
    for block in model.medvit.blocks:
        maps = plain_medvit_block(block, maps)
    return model.classifier(model.medvit.norm(maps).mean((2, 3)))
