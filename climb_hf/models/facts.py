"""What the documentation says of each encoder: where it comes from, its terms, and what was compared with what."""

from dataclasses import dataclass

__all__ = ["MODEL_FACTS", "ModelFacts"]


@dataclass(frozen=True)
class ModelFacts:
    """Facts of one encoder.

    Args:
        title (`str`): its name in the literature.
        reference (`str`): the published implementation, with its commit where one was read.
        weights (`str`): published checkpoints and their terms.
        parity (`str`): what the tests compare with recorded numbers of the published implementation.
    """

    title: str
    reference: str
    weights: str
    parity: str


_BIOT = "`ycq091044/BIOT` (MIT), commit d138e32"
_ALL = "logits of a filled state dictionary, relative 1e-4; parameter and entry counts"

MODEL_FACTS: dict[str, ModelFacts] = {
    "vision": ModelFacts(
        "any timm or transformers backbone",
        "timm (Apache-2.0), transformers (Apache-2.0)",
        "those of the backbone, with its terms: see the presets",
        "it is the library's own backbone; converters are compared between the two libraries",
    ),
    "medvit": ModelFacts(
        "MedViT (small, base, large)",
        "`Omid-Nejati/MedViT` (MIT), commit 1abcaf6",
        "ImageNet-1k checkpoints behind file-share links, MIT repository",
        "stem, stages, feature and logits of the small size, relative 1e-3; parameter and entry counts of all",
    ),
    "sparcnet": ModelFacts("SPaRCNet", _BIOT, "none published in this layout", _ALL),
    "cnn_transformer": ModelFacts("CNN-Transformer", _BIOT, "none published", _ALL),
    "ffcl": ModelFacts("FFCL", _BIOT, "none published", _ALL),
    "contrawr": ModelFacts("ContraWR", _BIOT, "none published in this layout", _ALL),
    "st_transformer": ModelFacts("ST-Transformer", _BIOT, "none published", _ALL),
    "biot": ModelFacts(
        "BIOT",
        _BIOT,
        "three encoders (PREST, SHHS+PREST, six data sets), MIT repository; the last saw the labels of TUAB, TUEV, "
        "CHB-MIT and IIIC",
        "logits, feature, and the feature of two sleep channels, relative 1e-4; parameter and entry counts",
    ),
    "ecg_jepa": ModelFacts(
        "ECG-JEPA",
        "`sehunfromdaegu/ECG_JEPA` (MIT), commit d937ad2",
        "two encoders behind file-share links, MIT repository; trained on Chapman-Shaoxing and CODE-15 (CC-BY-4.0)",
        "feature of eight and of four leads, context tokens, predictions and loss, relative 1e-4; counts",
    ),
    "units": ModelFacts(
        "UniTS (x32, x64, x128)",
        "`mims-harvard/UniTS` (MIT, with a disclaimer of MIT Lincoln Laboratory), commit 0e02814",
        "pretrained and supervised checkpoints of release `ckpt`; none has tokens for twelve leads",
        "logits, reconstruction outputs and losses of x64, relative 1e-4; counts of all sizes",
    ),
    "ecg_transformer": ModelFacts(
        "transformer of BenchMD / DABS",
        "`DDVD233/CLIMB:src/models/transformer.py` (no licence; written from a description), commit 0f767b1",
        "none published",
        "feature and the 128 outputs, relative 1e-4; parameter and entry counts",
    ),
    "graph": ModelFacts(
        "GCN, GAT, GATv2, Graph Transformer",
        "`DDVD233/CLIMB:models/graphs` (no licence; written from a description), layers of torch_geometric (MIT)",
        "none published",
        "logits of GCN, GAT and Graph Transformer, relative 1e-4; parameter and entry counts",
    ),
    "fusion": ModelFacts(
        "late, two-layer and cross-attention fusion of any picture, signal and text encoders",
        "`DDVD233/CLIMB:fusion` (no licence; written from a description), with its cross-attention over the batch "
        "replaced by one over the tokens of each example",
        "none published; the encoders have their own",
        "not verified against the original weights: there are none",
    ),
}
