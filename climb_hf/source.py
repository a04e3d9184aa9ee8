"""What a source declares (`Source`), one row of its index (`Record`), and what it may leave out.

A source knows the publisher's format and nothing of `datasets`: facts as class attributes, `index()` that reads tables
and lists folders without decoding anything, and `read()` that decodes one record into the input columns of its family.
Labels, splits, checks and the shared columns are the builder's work, so they exist once.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Literal

from climb_hf.errors import OptionError, SplitError
from climb_hf.vocabulary import SourceVocabulary, source_vocabulary

__all__ = ["Access", "Family", "LeftOut", "Options", "Record", "Skipped", "Source"]

Family = Literal["image", "frames", "signal", "graph", "expression", "multimodal", "text-image"]
Access = Literal["open", "registration", "credentialed", "application", "competition"]

#: Options every source understands, beside those of its family and its own `extra_options`.
COMMON_OPTIONS = (
    "labels", "split_by", "split_file", "validation", "seed", "strict", "verify", "qa", "qa_seed", "qa_paraphrase",
    "qa_order",
)  # fmt: skip
#: Options of each family, see `Options`.
FAMILY_OPTIONS: dict[str, tuple[str, ...]] = {
    "image": ("image_size",),
    "frames": ("image_size", "num_frames"),
    "signal": ("sampling_rate", "length"),
    "graph": (),
    "expression": (),
    "multimodal": ("image_size", "sampling_rate", "length"),
    "text-image": ("image_size",),
}


@dataclass(slots=True)
class Record:
    """One row of a source's index; everything is known without decoding the record's files.

    Args:
        id (`str`): unique in the source, the publisher's own name of the record.
        group (`str`): patient or subject; records of one group never stand in two splits of the default.
        split (`str`, *optional*): `"train"`, `"validation"` or `"test"`; `None` leaves it to the group-wise hash.
        raw_labels (`tuple[str, ...]`): label values as the publisher wrote them.
        label_values (`tuple[str, ...]`, *optional*): the values mapped to classes, where not the `raw_labels`.
        uncertain (`tuple[str, ...]`): values stated as uncertain; never counted positive.
        files (`tuple[str, ...]`): paths relative to the root; each is checked before the record is read.
        age (`float`, *optional*): years.
        sex (`str`, *optional*): `"female"` or `"male"`.
        targets (`dict`, *optional*): regression and task targets by name.
        duplicate_of (`str`, *optional*): id of the first copy of the same content.
        metadata (`dict`, *optional*): everything else the publisher gives; JSON values only.
        inputs (`dict`, *optional*): columns of the family already known from tables, such as `view` or `report`.
    """

    id: str
    group: str
    split: str | None = None
    raw_labels: tuple[str, ...] = ()
    label_values: tuple[str, ...] | None = None
    uncertain: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    age: float | None = None
    sex: str | None = None
    targets: dict[str, Any] | None = None
    duplicate_of: str | None = None
    metadata: dict[str, Any] | None = None
    inputs: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that `index()` could not make; counts toward the 5 % limit and stops a strict build.

    Args:
        id (`str`): the record's id as far as it is known.
        file (`str`): path relative to the root, or the table's name.
        reason (`str`): what was expected and what was found.
        error (`str`): name of the error class of `climb_hf.errors` a strict build raises.
    """

    id: str
    file: str
    reason: str
    error: str = "CorruptFileError"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A record that a documented rule leaves out; counted apart from failures.

    Args:
        id (`str`): the record's id.
        rule (`str`): the rule, short and always the same words, as it is the key of the count.
    """

    id: str
    rule: str


@dataclass(frozen=True)
class Options:
    """The options of one build, already checked against what the source understands.

    Args:
        labels (`str`, *optional*, defaults to `"climb"`): label scheme; `"raw"` gives the publisher's unmerged values.
        split_by (`str`, *optional*, defaults to `"official"`): `"official"`, `"paper"`, or one of the source's own.
        split_file (`str`, *optional*): path of a published split list, where `split_by` needs one.
        validation (`float`, *optional*, defaults to `0.0`): share of the train groups carved out as `validation`.
        seed (`int`, *optional*, defaults to `42`): seed of the group-wise hash split.
        strict (`bool`, *optional*, defaults to `False`): raise at the first damaged record instead of skipping it.
        verify (`str`, *optional*, defaults to `"quick"`): `"quick"`, `"full"` or `"none"`.
        image_size (`int`, *optional*): pictures are resized once, at build, to this side in pixels, by all cores.
        num_frames (`int` or `"all"`, *optional*): equally spaced frames of a video or volume.
        window (`str`, *optional*): named display window, or `"raw"`, which needs and sets 16 bits.
        bit_depth (`int`, *optional*, defaults to `8`): 8 or 16 bits per grey value.
        sampling_rate (`float`, *optional*): Hz; signals are taken or resampled at this rate.
        length (`int`, *optional*): samples; longer signals are cut at the end, shorter ones padded with NaN.
        qa (`bool`, *optional*, defaults to `False`): rows are questions for vision-language models, see `climb_hf.qa`.
        qa_seed (`int`, *optional*, defaults to `0`): seed of the order of the choices and of random wordings.
        qa_paraphrase (`int` or `"random"`, *optional*, defaults to `0`): which wording of the question.
        qa_order (`str`, *optional*, defaults to `"shuffled"`): `"shuffled"` or `"fixed"` order of the choices.
        extra (`Mapping`): options that belong to one source only.
    """

    labels: str = "climb"
    split_by: str = "official"
    split_file: str | None = None
    validation: float = 0.0
    seed: int = 42
    strict: bool = False
    verify: Literal["quick", "full", "none"] = "quick"
    image_size: int | None = None
    num_frames: int | Literal["all"] | None = None
    window: Any = None
    bit_depth: int = 8
    sampling_rate: float | None = None
    length: int | None = None
    qa: bool = False
    qa_seed: int = 0
    qa_paraphrase: int | str = 0
    qa_order: str = "shuffled"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Give raw values the 16 bits they need: 8-bit pictures would cut them at 255."""
        if isinstance(self.window, str) and self.window == "raw":
            object.__setattr__(self, "bit_depth", 16)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - an option may hold any plain value
        """Return an option of the source's own, such as `options["drop_duplicates"]`."""
        return self.extra[name]


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


class Source:
    """Base class of every source: facts as class attributes, two functions, no knowledge of `datasets`.

    A subclass sets the facts and implements `index`; image sources inherit `read`. The classes, their concepts and the
    raw values they come from stand in the vocabulary under the source's name.

    Example:
        >>> import climb_hf
        >>> climb_hf.get_source("brain_tumor").classes
        ('No Tumor', 'Pituitary Tumor', 'Glioma Tumor', 'Meningioma Tumor')
    """

    name: ClassVar[str]
    title: ClassVar[str]
    version: ClassVar[str] = "1.0.0"
    homepage: ClassVar[str]
    citation: ClassVar[str]
    license: ClassVar[str]
    license_note: ClassVar[str] = ""
    redistributable: ClassVar[bool]
    access: ClassVar[Access]
    how_to_get: ClassVar[tuple[str, ...]]
    modality: ClassVar[str]
    family: ClassVar[Family]
    domains: ClassVar[tuple[str, ...]]
    tasks: ClassVar[tuple[str, ...]]
    published_splits: ClassVar[Mapping[str, int]]
    #: The split that published numbers are of, where it is not `test`.
    evaluation_split: ClassVar[str] = "test"
    #: Notes a user must know before trusting a number: leaks of the published split, known label noise.
    cautions: ClassVar[tuple[str, ...]] = ()
    #: Channel names in order, for the signal family.
    channels: ClassVar[tuple[str, ...]] = ()
    #: Which patient ids the groups are, where other sources use the same ones: sources with an equal value are linked.
    patient_ids: ClassVar[str | None] = None
    #: Values `split_by` and `labels` accept.
    splits: ClassVar[tuple[str, ...]] = ("official",)
    label_schemes: ClassVar[tuple[str, ...]] = ("climb", "raw")
    #: Vocabulary scheme of a label scheme where it is not the one of the same name.
    vocabulary_scheme: ClassVar[Mapping[str, str]] = {"raw": "climb"}
    #: Label scheme that an own option chooses while it is on and `labels` is the default.
    option_schemes: ClassVar[Mapping[str, str]] = {}
    #: Why a split of the paper cannot be rebuilt, for the error of `split_by="paper"`.
    unavailable_splits: ClassVar[Mapping[str, str]] = {}
    #: Shares of the group-wise hash split, for records without a split of their own.
    fractions: ClassVar[Mapping[str, float]] = {"train": 0.8, "test": 0.2}
    #: Options of this source only, with their defaults.
    extra_options: ClassVar[Mapping[str, Any]] = {}
    #: Options with which a source of another family gives pairs of `image` and `text`, see `climb_hf.protocols.pairs`.
    pair_options: ClassVar[Mapping[str, Any]] = {}
    #: Glob patterns of the files whose name, size and time make the cache fingerprint of the raw data.
    fingerprint_patterns: ClassVar[tuple[str, ...]] = ()
    #: Template of the source's questions, the keys of `climb_hf/qa/templates.yaml`; those of the library stand there.
    qa_template: ClassVar[Mapping[str, Any] | None] = None
    #: Names one of which marks the root folder of the raw data.
    root_markers: ClassVar[tuple[str, ...]]
    #: Benchmark the source belongs to: `"climb"`, or `"openpmc"` for those of the Open-PMC-18M evaluation alone.
    benchmark: ClassVar[str] = "climb"
    #: Names of the classes in zero-shot prompts, in the order of `classes`; empty where the benchmark has none.
    zero_shot_names: ClassVar[tuple[str, ...]] = ()
    #: Whether the prompts of the benchmark end with a full stop.
    prompts_end_with_stop: ClassVar[bool] = True

    @property
    def option_names(self) -> tuple[str, ...]:
        """Names of the options this source understands."""
        return (*COMMON_OPTIONS, *FAMILY_OPTIONS[self.family], *self.extra_options)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the default label scheme: strings of the CLIMB paper's Table 7, in its order."""
        return source_vocabulary(self.name).classes

    @property
    def concepts(self) -> tuple[str, ...]:
        """The same classes, in the same order, as names in the unified vocabulary."""
        return source_vocabulary(self.name).concepts

    @property
    def multi_label(self) -> bool:
        """Whether a record may have several classes, or none."""
        return source_vocabulary(self.name).multi_label

    def vocabulary(self, labels: str = "climb") -> SourceVocabulary:
        """Return the vocabulary that a label scheme of this source uses."""
        return source_vocabulary(self.name, self.vocabulary_scheme.get(labels, labels))

    def label_scheme(self, labels: str, options: Mapping[str, Any]) -> str:
        """Return the label scheme that `labels` and the source's own options choose together."""
        chosen = (scheme for option, scheme in self.option_schemes.items() if options.get(option))
        return next(chosen, labels) if labels == "climb" else labels

    def family_for(self, options: Options) -> Family:
        """Return the family of the columns that a build with these options has; an option may choose another one."""
        return self.family

    def find_root(self, data_dir: Path) -> Path:
        """Return the documented root: `data_dir` itself or the folder below it that holds the layout."""
        from climb_hf.readers.tables import find_root

        return find_root(data_dir, self.root_markers, self.name)

    def check_options(self, options: Options) -> None:
        """Refuse values of `labels` and `split_by` that the source does not offer.

        Raises:
            SplitError: the split cannot be rebuilt; the message says why.
            OptionError: a value is not one of those allowed.
        """
        if options.split_by in self.unavailable_splits:
            raise SplitError(
                f"{self.name}: `split_by={options.split_by!r}` cannot be rebuilt: "
                f"{self.unavailable_splits[options.split_by]} Use one of {list(self.splits)}."
            )
        for option, value, allowed in (
            ("split_by", options.split_by, self.splits),
            ("labels", options.labels, self.label_schemes),
            ("verify", options.verify, ("quick", "full", "none")),
            ("bit_depth", options.bit_depth, (8, 16)),
            ("qa", options.qa, (False, True)),
        ):
            if value not in allowed:
                raise OptionError(f"{self.name}: `{option}` must be one of {list(allowed)}, got {value!r}.")
        if not (_is_number(options.validation) and 0 <= options.validation < 1):
            raise OptionError(f"{self.name}: `validation` must be in [0, 1), got {options.validation!r}.")
        if options.window is not None:
            from climb_hf.readers.dicom import resolve_window

            resolve_window(options.window)
        for option, is_whole in (
            ("image_size", True),
            ("num_frames", True),
            ("sampling_rate", False),
            ("length", True),
        ):
            value = getattr(options, option)
            if value is None or (option == "num_frames" and value == "all"):
                continue
            if not _is_number(value) or not 0 < value < math.inf or (is_whole and not isinstance(value, Integral)):
                kind = "whole number" if is_whole else "finite number"
                raise OptionError(f"{self.name}: `{option}` must be a positive {kind}, got {value!r}.")

    def fingerprint_files(self, root: Path) -> Iterator[Path]:
        """Yield the files whose name, size and modification time stand for the state of the raw data."""
        for pattern in self.fingerprint_patterns:
            yield from sorted(root.glob(pattern))

    def option_files(self, options: Options) -> Iterable[Path]:
        """Return the files that are read from a folder an option names; they are part of the cache fingerprint too."""
        return ()

    def index(self, root: Path, options: Options) -> Iterable[Record | Skipped | LeftOut]:
        """List the records of the raw data below `root`, reading tables and folders but decoding nothing.

        Args:
            root (`Path`): the documented root folder.
            options (`Options`): the checked options of the build.

        Returns:
            Records in a stable order, with what was left out or could not be made between them.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `index(root, options)`")

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Decode one record into the input columns of its family; may also refine shared columns such as `age`.

        The default serves the image, text-image and frames families: one picture file, or one video.

        Args:
            record (`Record`): a record of `index`.
            root (`Path`): the documented root folder.
            options (`Options`): the checked options of the build.

        Returns:
            `dict`: columns by name.

        Raises:
            CorruptFileError: a file is truncated or contradicts its header.
        """
        from climb_hf.processing.inputs import read_frames_columns, read_image_columns

        if self.family in ("image", "text-image"):
            return read_image_columns(root / record.files[0], options)
        if self.family == "frames":
            return read_frames_columns(root / record.files[0], options)
        raise NotImplementedError(f"{type(self).__name__} must define `read(record, root, options)`")
