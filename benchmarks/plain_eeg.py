"""The EEG encoders as a straightforward port writes them, with the weights of our models, to compare speeds.

One Fourier transform per channel, segments one by one, attention spelled out. The layers (linear, norm, convolution,
LSTM) are ours, so both sides have the same weights and the same gradients.
"""

import torch
import torch.nn.functional as F
from plain_ecg import heads_apart
from torch import Tensor, nn


def spectrogram(signal: Tensor, n_fft: int, hop: int, *, centred: bool) -> Tensor:
    """Magnitudes (batch, channels, f, t), channel by channel; centred windows are normalised, too."""
    window = torch.ones(n_fft)
    options = {"window": window, "center": centred, "normalized": centred, "return_complex": True}
    return torch.stack([torch.stft(channel, n_fft, hop, **options) for channel in signal.unbind(1)], 1).abs()


def plain_attention(layer: nn.Module, tokens: Tensor) -> Tensor:
    """`climb_hf.models.layers.SelfAttention` with its own scale and dropout, spelled out."""
    query, key, value = heads_apart(layer.qkv(tokens), 3, layer.heads)
    scale = query.shape[-1] ** -0.5 if layer.scale is None else layer.scale
    weights = F.dropout((query @ key.transpose(-1, -2) * scale).softmax(-1), layer.dropout, layer.training)
    return layer.proj((weights @ value).transpose(1, 2).flatten(2))


def plain_mlp(mlp: nn.Module, tokens: Tensor) -> Tensor:
    """`climb_hf.models.layers.FeedForward`."""
    return mlp.dropout(mlp.fc2(mlp.dropout(F.gelu(mlp.fc1(tokens)))))


def plain_linear_attention(layer: nn.Module, tokens: Tensor) -> Tensor:
    """Attention of BIOT: heads apart first, then two softmaxes and two products."""
    parts = (layer.query(tokens), layer.key(tokens), layer.value(tokens))
    query, key, value = (heads_apart(part, 1, layer.heads)[0] for part in parts)
    query, key = query.softmax(-1) * query.shape[-1] ** -0.5, key.softmax(-2)
    context = torch.einsum("bhnd,bhne->bhde", key, value)
    mixed = torch.einsum("bhnd,bhde->bhne", query, context)
    return layer.dropout(layer.proj(mixed.transpose(1, 2).flatten(2)))


def plain_biot(model: nn.Module, signal: Tensor) -> Tensor:
    """Logits of `BiotForClassification`."""
    config, body = model.config, model.biot
    parts = []
    for index in range(signal.shape[1]):
        spectra = spectrogram(signal[:, index : index + 1], config.fft_size, config.hop_length, centred=False)
        part = body.patch_embedding(spectra[:, 0].transpose(1, 2))
        part = part + body.channel_embedding(torch.tensor([index]))
        parts.append(body.dropout(part + body.position_embedding[: part.shape[1]]))
    tokens = torch.cat(parts, 1)
    for block in body.blocks:
        tokens = tokens + plain_linear_attention(block.attn, block.norm1(tokens))
        tokens = tokens + plain_mlp(block.mlp, block.norm2(tokens))
    return model.classifier(F.elu(tokens.mean(1)))


def plain_sparcnet(model: nn.Module, signal: Tensor) -> Tensor:
    """Logits of `SparcNetForClassification`."""
    body = model.sparcnet
    features = F.max_pool1d(F.elu(body.norm(body.conv(signal))), 3, 2, 1)
    for block in body.blocks:
        for layer in block.layers:
            steps = (layer.norm1, F.elu, layer.conv1, layer.norm2, F.elu, layer.conv2, layer.dropout)
            update = features
            for step in steps:
                update = step(update)
            features = torch.cat([features, update], 1)
        features = F.avg_pool1d(block.conv(F.elu(block.norm(features))), 2)
    return model.classifier(F.elu(features.flatten(1)))


def plain_residual(encoder: nn.Module, signal: Tensor) -> Tensor:
    """`climb_hf.models.spectrogram.SpectrogramEncoder`, whose last map is one place: (batch, width)."""
    maps = spectrogram(signal, encoder.n_fft, encoder.hop_length, centred=True)
    for block in encoder.blocks:
        update = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(maps)))))
        maps = block.dropout(block.pool(update + block.downsample(maps)))
    return maps.flatten(1)


def plain_contrawr(model: nn.Module, signal: Tensor) -> Tensor:
    """Logits of `ContraWrForClassification`."""
    return model.classifier(F.elu(plain_residual(model.contrawr.spectrogram, signal)))


def plain_ffcl(model: nn.Module, signal: Tensor) -> Tensor:
    """Logits of `FfclForClassification`."""
    phases = model.config.num_phases
    rows = torch.cat([signal[:, :, phase::phases] for phase in range(phases)], 1)
    steps, _ = model.ffcl.lstm(rows)
    return model.classifier(F.elu(torch.cat([plain_residual(model.ffcl.spectrogram, signal), steps[:, -1]], 1)))


def plain_cnn_transformer(model: nn.Module, signal: Tensor) -> Tensor:
    """Logits of `CnnTransformerForClassification`."""
    body = model.cnn_transformer
    segments = signal.chunk(model.config.num_segments, 2)
    tokens = torch.stack([plain_residual(body.spectrogram, segment) for segment in segments], 1)
    tokens = body.position_dropout(tokens + body.position_embedding)
    for block in body.blocks:
        tokens = block.norm1(tokens + block.dropout(plain_attention(block.attn, tokens)))
        tokens = block.norm2(tokens + plain_mlp(block.mlp, tokens))
    return model.classifier(F.elu(tokens.mean(1)))


def plain_channels(layer: nn.Module, signal: Tensor) -> Tensor:
    """Attention of channels as published: the weights are summed on their own."""
    samples, pool = signal.transpose(1, 2), nn.AvgPool1d(layer.pooling_size)
    query, key = (pool(part(samples).transpose(1, 2)) for part in (layer.query, layer.key))
    weights = (query @ key.transpose(1, 2) * layer.scale).softmax(-1)
    return layer.projection((signal * weights.sum(-1, keepdim=True)).transpose(1, 2)).transpose(1, 2)


def plain_st_transformer(model: nn.Module, signal: Tensor) -> Tensor:
    """Logits of `StTransformerForClassification`."""
    body = model.st_transformer
    signal = signal + body.dropout(plain_channels(body.channel_attention, body.signal_norm(signal)))
    tokens = body.conv2(F.leaky_relu(body.norm(body.conv1(signal)), 0.2)).transpose(1, 2)
    for block in body.blocks:
        tokens = tokens + block.dropout(plain_attention(block.attn, block.norm1(tokens)))
        tokens = tokens + plain_mlp(block.mlp, block.norm2(tokens))
    return model.classifier(F.elu(tokens.mean(1)))
