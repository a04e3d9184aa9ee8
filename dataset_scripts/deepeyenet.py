"""DeepEyeNet: 15,709 retinal pictures with keywords and clinical descriptions, by Huang et al., 2021.

Features: `image` (colour fundus photographs, angiograms, some OCT); `text`, the clinical description in lower case, or
the keywords; both stand in `metadata` too.
Classes: none; 265 conditions are named in the texts only.
Splits: the publisher's lists train, valid and test, which go by image: pictures of one eye stand on both sides.
Licence: by agreement with the authors, not to be passed on. Cite: doi 10.1109/WACV48630.2021.00249.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.readers.patient_folders import unlisted_files
from climb_hf.readers.tables import missing_table
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

FOLDER = "eyenet0420"
LIST = "DeepEyeNet_{}.json"
#: Names of the lists of a split; copies differ in that of the second.
NAMES = {"train": ("train",), "validation": ("valid", "val"), "test": ("test",)}
SETS = ("train_set", "val_set", "test_set")
TEXTS = ("clinical-description", "keywords", "both")


class DeepEyeNet(Source):
    """DeepEyeNet."""

    name = "deepeyenet"
    title = "DeepEyeNet: retinal pictures with clinical descriptions"
    homepage = (
        "https://github.com/Jhhuangkay/DeepOpht-Medical-Report-Generation-for-Retinal-Images-via-Deep-Models-and-"
        "Visual-Explanation"
    )
    citation = (
        "@inproceedings{huang2021deepopht, title={DeepOpht: Medical Report Generation for Retinal Images via Deep "
        "Models and Visual Explanation}, author={Huang, Jia-Hong and others}, booktitle={WACV}, year={2021}, "
        "doi={10.1109/WACV48630.2021.00249}}"
    )
    license = "LicenseRef-DeepEyeNet-Agreement"
    license_note = "Given under an agreement with the authors; neither pictures nor texts may be passed on."
    redistributable = False
    access = "application"
    how_to_get = (
        "Ask the authors for the agreement (deepeyenet.den@gmail.com, see the homepage), sign and return it.",
        "Unpack `DeepEyeNet.zip` and pass the folder that holds `DeepEyeNet_train.json` and `eyenet0420/`.",
    )
    modality = "Fundus"
    family = "text-image"
    domains = ("Ophthalmology",)
    tasks = ("Retrieval",)
    benchmark = "openpmc"
    published_splits = {"train": 9425, "validation": 3142, "test": 3140}
    cautions = (
        "The publisher's lists go by image: pictures of one eye, with one description, are in train and in test.",
        "3,140 test pictures share 1,542 descriptions (up to 83 have the same), so where only the picture of the same "
        "row counts as found, recall is at most 0.849 (@10), 0.979 (@50) and 1.0 (@200).",
        "There is no patient id; `metadata['series']`, the file's name before its last hyphen, is the nearest to one.",
        "Sizes of train and validation are unverified; those of the test list were counted.",
    )
    #: `text`: what the text column holds; `"both"` is keywords, line feed, description, as older loaders have it.
    extra_options = {"text": TEXTS[0]}
    fingerprint_patterns = (
        LIST.format("*"), f"{FOLDER}/{LIST.format('*')}", *(f"{FOLDER}/{name}" for name in SETS), *SETS,
    )  # fmt: skip
    root_markers = (LIST.format("*"), f"{FOLDER}/{LIST.format('*')}")

    def check_options(self, options: Options) -> None:
        """Check the own option too."""
        super().check_options(options)
        if options["text"] not in TEXTS:
            raise OptionError(f"{self.name}: `text` must be one of {list(TEXTS)}, got {options['text']!r}.")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Read the three lists; whether they lie beside `eyenet0420/` or in it, and with or without that folder."""
        base = f"{FOLDER}/" if (root / FOLDER).is_dir() else ""
        listed: set[str] = set()
        for split, names in NAMES.items():
            places = [root / folder / LIST.format(name) for folder in ("", FOLDER) for name in names]
            path = next((place for place in places if place.is_file()), None)
            if path is None:
                raise missing_table(places[0])
            for name, texts in _entries(path):
                file = base + name.removeprefix(f"{FOLDER}/")
                listed.add(file)
                yield self._row(name, texts, file, (split, path.name), options["text"])
        if options.verify != "none":
            folders = [f"{base}{name}" for name in SETS if (root / base / name).is_dir()]
            for file in unlisted_files(root, folders, ".jpg", listed):
                yield LeftOut(file, "picture that no list names")

    def _row(
        self, name: str, texts: object, file: str, place: tuple[str, str], wanted: str
    ) -> Record | LeftOut | Skipped:
        split, table = place
        found = texts if isinstance(texts, dict) else {}
        description, keywords = (found.get(key) for key in TEXTS[:2])
        if not isinstance(description, str) or not isinstance(keywords, str):
            reason = f"expected `keywords` and `clinical-description` as text, found {str(texts)[:80]!r}."
            return Skipped(name, table, reason, "SchemaError")
        text = {TEXTS[0]: description, TEXTS[1]: keywords}.get(wanted, f"{keywords}\n{description}".strip())
        if not text.strip():
            return LeftOut(name, f"picture with an empty text (`text={wanted!r}`)")
        return Record(
            id=name,
            group=name,
            split=split,
            files=(file,),
            inputs={"text": text},
            metadata={
                "keywords": [word.strip() for word in keywords.split(",") if word.strip()],
                "clinical_description": description,
                "series": Path(name).stem.rpartition("-")[0] or Path(name).stem,
            },
        )


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield picture and texts of a list of dictionaries, of one key or more each, or of one plain dictionary."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise CorruptFileError(f"`{path.name}`: damaged or cut off ({error}). Get it again.") from error
    parts = [content] if isinstance(content, dict) else content
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise CorruptFileError(f"`{path.name}`: expected a list of dictionaries, found {str(content)[:60]!r}.")
    for part in parts:
        yield from part.items()
