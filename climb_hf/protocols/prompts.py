"""What zero-shot classification says to the text encoder: templates, and names of classes that are clear in them.

`PROTOCOL` is the template set of the Open-PMC-18M evaluation: four histopathology sentences, used for every data set
whatever it shows. `DOMAIN` are sentences that fit the modality. `CLASS_NAMES` says in words what the class strings of
a source abbreviate; sources of that evaluation bring their own `zero_shot_names`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from climb_hf.errors import OptionError, VocabularyError

if TYPE_CHECKING:
    from climb_hf.source import Source

__all__ = [
    "CLASS_NAMES",
    "DOMAIN",
    "PROTOCOL",
    "TEMPLATE_SETS",
    "class_names",
    "prompts_of",
    "read_names",
    "templates_of",
]

TEMPLATE_SETS = ("openpmc", "domain")

#: Without a full stop; those sources whose `prompts_end_with_stop` is set get one.
PROTOCOL = (
    "a histopathology slide showing {}",
    "histopathology image of {}",
    "pathology tissue showing {}",
    "presence of {} tissue on image",
)

_GENERAL = ("a medical image showing {}", "an image of a patient with {}", "findings: {}", "this image shows {}")
#: Words of a source's name, modality or title, looked for in this order, and the sentences for the first that fits.
DOMAIN: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("bloodmnist", "blood cell"),
        ("a microscopy image of {}", "a blood smear showing {}", "a stained blood cell: {}"),
    ),
    (
        ("chest x-ray", "x-ray"),
        ("a chest X-ray showing {}", "a chest radiograph with {}", "chest X-ray, findings: {}", "impression: {}"),
    ),
    (
        ("mammogra",),
        ("a mammogram showing {}", "mammography of a breast with {}", "a screening mammogram, assessment: {}"),
    ),
    (("ultrasound",), ("an ultrasound image showing {}", "sonography of {}", "an ultrasound scan with {}")),
    (
        ("oct", "optical coherence"),
        ("an OCT scan of the retina showing {}", "optical coherence tomography of {}", "a retinal B-scan with {}"),
    ),
    (
        ("fundus", "retina"),
        ("a fundus photograph showing {}", "a colour photograph of the retina with {}", "retinal image, grade: {}"),
    ),
    (
        ("dermoscop", "dermat", "skin"),
        ("a dermoscopic image of {}", "a photograph of a skin lesion: {}", "a skin lesion diagnosed as {}"),
    ),
    (
        ("tissue", "patholog", "histolog", "microscop"),
        ("a stained tissue section showing {}", "a histology image of {}", "a microscopy slide with {}"),
    ),
    (("mri", "magnetic"), ("an MRI slice showing {}", "magnetic resonance imaging of {}", "an MRI scan with {}")),
    (("ct", "computed tomography"), ("a CT slice showing {}", "computed tomography of {}", "a CT scan with {}")),
)

_BIRADS = (
    "a negative breast, BI-RADS 1",
    "a benign finding, BI-RADS 2",
    "a probably benign finding, BI-RADS 3",
    "a suspicious abnormality, BI-RADS 4",
    "a finding highly suggestive of malignancy, BI-RADS 5",
)
_SKIN_FIVE = (
    "melanoma",
    "melanocytic nevus",
    "basal cell carcinoma",
    "actinic keratosis or intraepithelial carcinoma",
    "another kind of skin lesion",
)
_DR_FIVE = (
    "no diabetic retinopathy",
    "mild diabetic retinopathy",
    "moderate diabetic retinopathy",
    "severe non-proliferative diabetic retinopathy",
    "proliferative diabetic retinopathy",
)
#: By source, in the order of its `classes`.
CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "aptos2019": _DR_FIVE,
    "messidor2": _DR_FIVE,
    "jichi": (
        "no diabetic retinopathy",
        "simple diabetic retinopathy",
        "pre-proliferative diabetic retinopathy",
        "proliferative diabetic retinopathy",
    ),
    "bcss": ("breast tumor", "stroma", "lymphocytic infiltrate", "necrosis or debris"),
    "brain_mri": ("a brain without a tumor", "a brain tumor"),
    "brain_tumor": ("a brain without a tumor", "a pituitary tumor", "a glioma", "a meningioma"),
    "busi": ("a normal breast", "a malignant breast tumor", "a benign breast tumor"),
    "cbis_ddsm": _BIRADS,
    "vindr_mammo": _BIRADS,
    "cmmd": ("a benign breast lesion", "a malignant breast lesion"),
    "coronahack": ("normal lungs", "bacterial pneumonia", "viral pneumonia"),
    "covid19_cxr": ("normal lungs", "bacterial pneumonia", "COVID-19 pneumonia", "viral pneumonia"),
    "ham10000": _SKIN_FIVE,
    "pad_ufes_20": _SKIN_FIVE,
    "hemorrhage": ("a brain without hemorrhage", "an intracranial hemorrhage"),
    "isic2020": ("malignant melanoma", "a benign skin lesion"),
    "lc25000": (
        "colon adenocarcinoma",
        "benign colonic tissue",
        "lung adenocarcinoma",
        "lung squamous cell carcinoma",
        "benign lung tissue",
    ),
    "rspect": ("no pulmonary embolism", "chronic pulmonary embolism", "acute pulmonary embolism"),
    "vindr_cxr": (
        "a lung tumor",
        "pneumonia",
        "tuberculosis",
        "chronic obstructive pulmonary disease",
        "another disease",
        "no finding",
    ),
}


def templates_of(source: "Source", templates: str | Sequence[str]) -> tuple[str, ...]:
    """Return the templates of a source.

    Args:
        source (`Source`): the source.
        templates (`str` or `Sequence[str]`): `"openpmc"`, `"domain"`, or sentences with one `{}` each.

    Returns:
        `tuple[str, ...]`: at least one; those of `"openpmc"` end as the protocol has it for this source.

    Raises:
        OptionError: no such set, or a sentence without exactly one `{}`.

    Example:
        >>> from climb_hf import get_source
        >>> templates_of(get_source("covid19_cxr"), "domain")[0]
        'a chest X-ray showing {}'
    """
    if isinstance(templates, str) and templates not in TEMPLATE_SETS:
        raise OptionError(
            f"`templates` must be one of {TEMPLATE_SETS} or a list of sentences with `{{}}`, found {templates!r}."
        )
    if templates == "openpmc":
        stop = "." if getattr(source, "prompts_end_with_stop", False) else ""
        return tuple(f"{sentence}{stop}" for sentence in PROTOCOL)
    if templates == "domain":
        for text in (source.name, source.modality, source.title):
            words = (text.lower(), *text.lower().split())
            for keys, found in DOMAIN:
                if any(_fits(key, words) for key in keys):
                    return found
        return _GENERAL
    wrong = [sentence for sentence in templates if str(sentence).count("{}") != 1]
    if wrong or not templates:
        raise OptionError(f"every template must hold `{{}}` once, where the class stands; found {wrong or 'none'}.")
    return tuple(templates)


def _fits(key: str, words: Sequence[str]) -> bool:
    """Whether a key is one of the words, or, from five letters on, part of one."""
    return key in words or (len(key) > 4 and any(key in word for word in words))


def class_names(
    source: "Source", scheme: str = "climb", given: Mapping[str, Sequence[str]] | None = None
) -> tuple[str, ...]:
    """Return what the classes of a source are called in prompts.

    Taken from, in this order: `given`, the source's `zero_shot_names`, `CLASS_NAMES`, the class strings themselves.
    The second and third belong to the default label scheme.

    Args:
        source (`Source`): the source.
        scheme (`str`, *optional*, defaults to `"climb"`): its label scheme.
        given (`Mapping`, *optional*): the user's own names by source.

    Returns:
        `tuple[str, ...]`: one per class, in the order of the scheme's classes.

    Raises:
        VocabularyError: not as many names as classes, or two classes with the same name.

    Example:
        >>> from climb_hf import get_source
        >>> class_names(get_source("brain_mri"))
        ('a brain without a tumor', 'a brain tumor')
    """
    classes = source.vocabulary(scheme).classes
    own: Sequence[str] = ()
    if given and source.name in given:
        own = given[source.name]
    elif scheme == "climb":
        own = getattr(source, "zero_shot_names", ()) or CLASS_NAMES.get(source.name, ())
    names = tuple(own) or classes
    if len(names) != len(classes) or len(set(names)) != len(names):
        raise VocabularyError(
            f"{source.name}: expected {len(classes)} different names for its classes {list(classes)}, "
            f"found {list(names)}."
        )
    return names


def prompts_of(templates: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    """Fill every template for every class.

    Args:
        templates (`Sequence[str]`): sentences with `{}`.
        names (`Sequence[str]`): of the classes.

    Returns:
        `list[list[str]]`: for each class its prompts, in the order of the templates.

    Example:
        >>> prompts_of(["an image of {}."], ["a nevus", "melanoma"])
        [['an image of a nevus.'], ['an image of melanoma.']]
    """
    return [[template.replace("{}", name) for template in templates] for name in names]


def read_names(path: str | Path) -> dict[str, list[str]]:
    """Read names of classes from a YAML file.

    Args:
        path (`str` or `Path`): a mapping of sources to lists of names, in the order of `climb info SOURCE`.

    Returns:
        `dict[str, list[str]]`: names by source.

    Raises:
        OptionError: the file is no such mapping.
    """
    import yaml

    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    is_mapping = isinstance(content, dict) and all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in content.values()
    )
    if not is_mapping:
        raise OptionError(f'`{Path(path).name}` must map sources to lists of class names: `pcam: ["…", "…"]`.')
    return content
