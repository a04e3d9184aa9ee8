"""The vision encoders of the CLIMB paper by name: which backbone each row of its Table 2 really is, and its input.

What the rows are was read in the paper's public code (`DDVD233/InternVL`, MIT); it differs from the paper's text at
some places, which the notes name. Sizes and licences of timm weights are timm's own records.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from climb_hf.errors import OptionError

__all__ = ["VISION_PRESETS", "Statistics", "VisionPreset", "get_preset"]

#: Mean and standard deviation per channel of pictures in [0, 1].
Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]

IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OPENAI_CLIP: Statistics = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALF: Statistics = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_RAD_DINO: Statistics = ((0.5307, 0.5307, 0.5307), (0.2583, 0.2583, 0.2583))  # its `preprocessor_config.json`

_CHOICES = ("checkpoint", "paper")
_NON_COMMERCIAL = (
    "The original weights are CC-BY-NC-4.0, as timm records; the cards of `facebook/convnextv2-*` say apache-2.0. "
    "Treat models made from them as non-commercial."
)


@dataclass(frozen=True)
class VisionPreset:
    """One encoder of the paper.

    Args:
        name (`str`): name of the preset.
        row (`str`): name in the paper's Table 2.
        weights (`str`): where the published weights are: `timm/<architecture>.<tag>`, a Hub repository of a
            transformers model, or `<repository>:<file>` for a file that needs `convert_vision`.
        image_size (`int`): side of the input in pixels.
        statistics (`Statistics`): mean and standard deviation that the published weights were trained with.
        frames (`int`): frames of a video or volume that the paper's code used.
        width (`int`): width of the feature.
        parameters (`int`): of the backbone, without a head.
        precision (`str`): `"bfloat16"` or `"float32"`, in which the paper's code trained it.
        license (`str`): of the weights, by the Hub's name; `"unknown"` where nobody states one.
        redistributable (`bool`): whether models made from the weights may be passed on under that licence.
        notes (`str`): what to know before use.
        config (`dict`): fields of `ClimbVisionConfig`.
    """

    name: str
    row: str
    weights: str
    image_size: int
    statistics: Statistics
    frames: int
    width: int
    parameters: int
    precision: str
    license: str
    redistributable: bool
    notes: str
    config: Mapping[str, Any] = field(default_factory=dict)

    def fields(self, **overrides: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of ClimbVisionConfig
        """Return the fields of `ClimbVisionConfig`; overrides of dictionaries are merged key by key.

        Args:
            **overrides: fields that take precedence.

        Returns:
            `dict`.

        Example:
            >>> get_preset("pmc_vit_l14").fields(backbone_kwargs={"drop_path_rate": 0.1})["backbone_kwargs"]
            {'num_classes': 768, 'drop_path_rate': 0.1}
        """
        own: dict[str, Any] = {"image_size": self.image_size, **self.config}
        own.setdefault("backbone", self.weights)
        for key, value in overrides.items():
            both = isinstance(value, Mapping) and isinstance(own.get(key), Mapping)
            own[key] = {**own[key], **value} if both else value
        return {key: dict(value) if isinstance(value, Mapping) else value for key, value in own.items()}

    def processor_fields(self, statistics: str = "checkpoint") -> dict[str, Any]:
        """Return the fields of `ClimbImageProcessor`: size, statistics, and frames where the encoder has several.

        Pictures are stretched to the size, as the paper's code does for every model.

        Args:
            statistics (`str`, *optional*, defaults to `"checkpoint"`): `"checkpoint"` for what the published weights
                were trained with, `"paper"` for ImageNet's, which the paper's code uses for every model.

        Returns:
            `dict`: `size`, `image_mean`, `image_std`, `num_frames`.

        Raises:
            OptionError: another value.
        """
        if statistics not in _CHOICES:
            raise OptionError(f"`statistics` must be one of {_CHOICES}, but is {statistics!r}.")
        mean, std = IMAGENET if statistics == "paper" else self.statistics
        frames = self.frames if self.frames > 1 else None
        return {"size": self.image_size, "image_mean": list(mean), "image_std": list(std), "num_frames": frames}

    @property
    def file(self) -> tuple[str, str, str] | None:
        """Kind of repository, repository and file name of published weights that need `convert_vision`."""
        place, _, name = self.weights.partition(":")
        if not name:
            return None
        kind, _, rest = place.partition("/")
        return ("dataset", rest, name) if kind == "datasets" else ("model", place, name)


_TABLE = (
    VisionPreset(
        name="convnextv2_base",
        row="ConvNeXTv2",
        weights="timm/convnextv2_base.fcmae_ft_in22k_in1k",
        image_size=224,
        statistics=IMAGENET,
        frames=1,
        width=1024,
        parameters=87_692_800,
        precision="bfloat16",
        license="cc-by-nc-4.0",
        redistributable=True,
        notes="The size that the paper's fusion code loads (`facebook/convnextv2-base-22k-224`). Which of the two "
        f"sizes Table 2 used is not stated. {_NON_COMMERCIAL}",
    ),
    VisionPreset(
        name="convnextv2_large",
        row="ConvNeXTv2",
        weights="timm/convnextv2_large.fcmae_ft_in1k",
        image_size=384,
        statistics=IMAGENET,
        frames=1,
        width=1536,
        parameters=196_419_840,
        precision="bfloat16",
        license="cc-by-nc-4.0",
        redistributable=True,
        notes="The default of the paper's single-task code (`facebook/convnextv2-large-1k-224`), which feeds it 384 "
        f"pixels; the weights were trained at 224. {_NON_COMMERCIAL}",
    ),
    VisionPreset(
        name="swinv2_large",
        row="Swin Transformer",
        weights="timm/swinv2_large_window12_192.ms_in22k",
        image_size=192,
        statistics=IMAGENET,
        frames=8,
        width=1536,
        parameters=195_202_932,
        precision="bfloat16",
        license="mit",
        redistributable=True,
        notes="Swin V2 (`microsoft/swinv2-large-patch4-window12-192-22k`), though the paper cites V1. Its code pools "
        "the frames with a learned query: `pooling='attention'`; the default here is the mean, as of the other rows.",
    ),
    VisionPreset(
        name="eva02_large",
        row="EVA-2",
        weights="timm/eva02_large_patch14_448.mim_m38m_ft_in22k_in1k",
        image_size=448,
        statistics=OPENAI_CLIP,
        frames=2,
        width=1024,
        parameters=304_055_232,
        precision="bfloat16",
        license="mit",
        redistributable=True,
        notes="The same weights as `eva02_L_pt_m38m_medft_in21k_ft_in1k_p14.pt` of `Yuxin-CV/EVA-02`. The original "
        "code stops the gradient into the patch embedding during training; timm does not.",
    ),
    VisionPreset(
        name="sbb2_mediumd",
        row="SBB2",
        weights="timm/vit_mediumd_patch16_reg4_gap_384.sbb2_e200_in12k_ft_in1k",
        image_size=384,
        statistics=_HALF,
        frames=1,
        width=512,
        parameters=63_759_872,
        precision="float32",
        license="apache-2.0",
        redistributable=True,
        notes="A ViT of timm's second search for better baselines: supervised, not built upon CLIP as the paper says.",
    ),
    VisionPreset(
        name="internvit_300m",
        row="InternViT",
        weights="timm/vit_intern300m_patch14_448.ogvl_dist",
        image_size=448,
        statistics=IMAGENET,
        frames=1,
        width=1024,
        parameters=304_012_288,
        precision="bfloat16",
        license="mit",
        redistributable=True,
        notes="InternViT-300M-448px, the vision tower of `OpenGVLab/InternVL2-8B`; the feature is the class token, "
        "since the pooling of this row is not in the public code. That code feeds 448 pixels, or 224 by a later "
        "branch (`image_size=224`), and one or two frames.",
    ),
    VisionPreset(
        name="rad_dino",
        row="RAD-DINO",
        weights="microsoft/rad-dino",
        image_size=518,
        statistics=_RAD_DINO,
        frames=1,
        width=768,
        parameters=86_580_480,
        precision="bfloat16",
        license="msrla",
        redistributable=False,
        notes="Microsoft Research licence, research use only: models made from the weights must not be passed on "
        "without it. The feature is the class token after the last norm. Its own processor crops to the centre "
        "(`resize_mode='crop'`).",
        config={
            "backbone": "transformers",
            "backbone_config": {"model_type": "dinov2", "image_size": 518},  # the rest is Dinov2's default: ViT-B/14
        },
    ),
    VisionPreset(
        name="pmc_vit_l14",
        row="PMC-CLIP",
        weights="ryanyip7777/pmc_vit_l_14:open_clip_model.safetensors",
        image_size=224,
        statistics=OPENAI_CLIP,
        frames=1,
        width=768,
        parameters=303_966_976,
        precision="float32",
        license="unknown",
        redistributable=False,
        notes="What the paper's code runs under the name PMC-CLIP: a ViT-L/14 of open_clip with plain GELU, after the "
        "projection. No licence is stated: convert it for yourself, do not pass it on. timm's projection has a bias "
        "(768 parameters), which starts at 0 and the original does not have.",
        config={"backbone": "timm/vit_large_patch14_clip_224", "backbone_kwargs": {"num_classes": 768}},
    ),
    VisionPreset(
        name="pmc_clip_rn50",
        row="PMC-CLIP",
        weights="datasets/axiong/pmc_oa:image_encoder(resnet50).pth",
        image_size=224,
        statistics=OPENAI_CLIP,
        frames=1,
        width=768,
        parameters=37_792_352,
        precision="float32",
        license="unknown",
        redistributable=False,
        notes="PMC-CLIP of Lin et al. 2023, which the paper cites but did not run. The code is MIT; a licence of the "
        "weights is not verified. The attention pool has 32 heads, as it was trained; demos that build 8 compute "
        "something else.",
        config={"backbone": "timm/resnet50_clip", "backbone_kwargs": {"num_classes": 768}},
    ),
    VisionPreset(
        name="clip_l2b",
        row="CLIP-L2B",
        weights="timm/vit_giant_patch14_clip_224.laion2b",
        image_size=224,
        statistics=OPENAI_CLIP,
        frames=1,
        width=1024,
        parameters=1_012_646_656,
        precision="bfloat16",
        license="apache-2.0",
        redistributable=True,
        notes="In a caption of Table 2 only: ViT-g/14 of open_clip on LAION-2B (`laion2b_s34b_b88k`), after the "
        "projection. The original card is said to state MIT; timm records apache-2.0.",
        config={"backbone_kwargs": {"num_classes": 1024}},
    ),
)

#: Every preset by name.
VISION_PRESETS: Mapping[str, VisionPreset] = MappingProxyType({preset.name: preset for preset in _TABLE})


def get_preset(name: str) -> VisionPreset:
    """Return a preset.

    Args:
        name (`str`): one of `VISION_PRESETS`.

    Returns:
        `VisionPreset`.

    Raises:
        OptionError: no such preset; near names are given.

    Example:
        >>> get_preset("swinv2_large").row, get_preset("swinv2_large").frames
        ('Swin Transformer', 8)
    """
    if name not in VISION_PRESETS:
        near = get_close_matches(name, VISION_PRESETS, n=3)
        raise OptionError(
            f"there is no preset {name!r}{' (near: ' + ', '.join(near) + ')' if near else ''}; there are "
            f"{', '.join(VISION_PRESETS)}. `backbone='timm/<architecture>'` takes any other."
        )
    return VISION_PRESETS[name]
