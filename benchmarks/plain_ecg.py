"""The ECG encoders as a straightforward port writes them, with the weights of our models, to compare speeds.

Attention is spelled out: all scores, a mask of minus infinity, a softmax. The layers (linear, norm, convolution) are
ours, so both sides have the same weights and the same gradients.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from climb_hf.models.units.layers_units import DynamicLinear


def heads_apart(tokens: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """(batch, n, parts · heads · e) -> parts × (batch, heads, n, e)."""
    batch, count, _ = tokens.shape
    return tokens.view(batch, count, parts, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention over (…, n, e)."""
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ value


def plain_attention(layer: nn.Module, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """`climb_hf.models.layers.SelfAttention`, spelled out."""
    query, key, value = heads_apart(layer.qkv(tokens), 3, layer.heads)
    return layer.proj(attend(query, key, value, mask).transpose(1, 2).flatten(2))


def plain_block(block: nn.Module, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """A pre-norm block without drop path."""
    tokens = tokens + plain_attention(block.attn, block.norm1(tokens), mask)
    hidden = F.gelu(block.mlp.fc1(block.norm2(tokens)))
    return tokens + block.mlp.fc2(hidden)


def plain_ecg_jepa(model: nn.Module, signal: Tensor) -> Tensor:
    """Logits of `EcgJepaForClassification`."""
    config, body = model.config, model.ecg_jepa
    leads = [body.patch_embedding(lead.unflatten(1, (-1, config.patch_size))) for lead in signal.unbind(1)]
    tokens = torch.cat(leads, 1)
    token = torch.arange(tokens.shape[1])
    lead, moment = token // config.num_patches, token % config.num_patches
    mask = (lead[:, None] == lead) | (moment[:, None] == moment)
    for block in body.encoder.blocks:
        tokens = plain_block(block, tokens + body.position_embedding, mask)
    return model.classifier(body.encoder.norm(tokens).mean(1))


def plain_ecg_transformer(model: nn.Module, signal: Tensor) -> Tensor:
    """Logits of `EcgTransformerForClassification`."""
    config, body = model.config, model.ecg_transformer
    segments = signal.transpose(1, 2).reshape(len(signal), config.num_segments, -1)
    tokens = torch.cat([body.class_token.expand(len(signal), -1, -1), body.embedding(segments)], 1)
    tokens = tokens + body.position_embedding
    for block in body.blocks:
        tokens = plain_block(block, tokens)
    return model.classifier(model.head_norm(tokens.mean(1)))


def plain_dynamic(layer: DynamicLinear, values: Tensor, outputs: int) -> Tensor:
    """A map along time, resized at each call."""
    fixed, weight = layer.fixed_in, layer.weight[None, None]
    sizes = (outputs, fixed), (outputs, values.shape[-1] - fixed)
    parts = weight[..., :fixed], weight[..., fixed:]
    resized = [F.interpolate(part, size, mode="bilinear")[0, 0] for part, size in zip(parts, sizes, strict=True)]
    bias = F.interpolate(layer.bias[None, None], outputs, mode="linear")[0, 0]
    return F.linear(values, torch.cat(resized, 1), bias)


def plain_units_block(block: nn.Module, tokens: Tensor, prompts: int) -> Tensor:
    """Time attention, variable attention with projections of every token, and the dynamic MLP."""
    shape = batch, variables, count, _ = tokens.shape
    update = plain_attention(block.time_attention, block.time_norm(tokens).flatten(0, 1)).view(shape)
    tokens = tokens + update * block.time_gate(update).sigmoid()
    layer, normed = block.variable_attention, block.variable_norm(tokens)
    pair = layer.query_key(normed).view(batch, variables, count, 2, layer.heads, -1)
    query, key = pair.permute(3, 0, 4, 1, 2, 5).mean(4).unbind(0)
    value = layer.value(normed).view(batch, variables, count, layer.heads, -1).permute(0, 3, 1, 4, 2).flatten(3)
    mixed = attend(query, key, value).unflatten(3, (-1, count)).permute(0, 2, 4, 1, 3).flatten(3)
    update = layer.proj(mixed)
    tokens = tokens + update * block.variable_gate(update).sigmoid()
    mlp = block.mlp
    first, second = mlp.conv(block.mlp_norm(tokens).flatten(0, 1).transpose(1, 2)).chunk(2, 1)
    before, last = first[..., :-1], first[..., -1:]
    data = plain_dynamic(mlp.data_map, before, before.shape[-1] - prompts)
    first = torch.cat([plain_dynamic(mlp.prompt_map, before, prompts), data, last], 2)
    hidden = mlp.dropout(F.gelu(torch.cat([first, second], 1)).transpose(1, 2))
    update = mlp.dropout(mlp.fc2(hidden)).view(shape)
    return tokens + update * block.mlp_gate(update).sigmoid()


def plain_units(model: nn.Module, signal: Tensor) -> Tensor:
    """Logits of `UnitsForClassification`."""
    config, body = model.config, model.units
    mean, deviation = signal.mean(2, keepdim=True), (signal.var(2, keepdim=True, correction=0) + 1e-5).sqrt()
    padded = F.pad((signal - mean) / deviation, (0, -signal.shape[2] % config.patch_size))
    tokens = body.dropout(body.patch_embedding(padded.unflatten(2, (-1, config.patch_size))))
    tokens = tokens + body.position_embedding[:, :, : tokens.shape[2]]
    ends = (body.prompt_tokens.expand(len(signal), -1, -1, -1), body.class_tokens.expand(len(signal), -1, -1, -1))
    tokens = torch.cat([ends[0], tokens, ends[1]], 2)
    for block in body.blocks:
        tokens = plain_units_block(block, tokens, config.num_prompt_tokens)
    head = body.class_head
    tokens = head.proj_in(tokens).flatten(0, 1)
    (query,) = heads_apart(head.query(tokens[:, -1:]), 1, head.heads)
    key, value = heads_apart(head.key_value(tokens), 2, head.heads)
    feature = head.proj(attend(query, key, value).flatten(1))
    update = head.mlp(head.norm(feature))
    feature = feature + update * head.gate(update).sigmoid()
    return model.classifier(feature.view(len(signal), -1))
