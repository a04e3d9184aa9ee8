"""BioMed-VITAL: 210,000 conversations about figures of biomedical articles, by Cui et al., 2024.

Features: `image`, a figure of PubMed Central (null where the user has none); `messages`, the conversation as chat
messages; `text`, the same as plain text. Questions and answers were generated with GPT-4V and selected by a model of
clinicians' preference; a part is LLaVA-Med's.
Classes: none; the flags chest X-ray, MRI, CT, histology and gross pathology stand in `metadata["domain"]`.
Splits: none published; by article (hash of the PMID), 80/20.
Licence: treated as CC-BY-NC-4.0. Cite: arXiv 2406.13173.
"""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import OptionError, SchemaError
from climb_hf.processing.inputs import read_image_columns
from climb_hf.readers.conversations import IMAGE_TOKEN, conversation_of, to_messages, to_text
from climb_hf.readers.json_rows import iter_json_rows, read_json_row
from climb_hf.readers.tables import missing_table
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

logger = logging.getLogger(__name__)

FILE = "BioMed-VITAL-instructions-{}.json"
PARTS = ("210K", "150K", "80K", "60K")  # 210K holds the others
FIGURE = re.compile(r"(\d+)_[^/\\]+")
#: Keys that may be left of the generation, kept as they are.
CAPTIONS = ("fig_caption", "fig_label", "in_text_mention")


class Vital(Source):
    """BioMed-VITAL instructions."""

    name = "vital"
    title = "BioMed-VITAL instructions"
    homepage = "https://huggingface.co/datasets/mao1207/BioMed-VITAL-instructions"
    citation = (
        "@inproceedings{cui2024biomedvital, title={Biomedical Visual Instruction Tuning with Clinician Preference "
        "Alignment}, author={Cui, Hejie and Mao, Lingjun and others}, booktitle={NeurIPS}, year={2024}}"
    )
    license = "CC-BY-NC-4.0"
    license_note = (
        "The Hub page says Apache-2.0, but 70,000 rows come from LLaVA-Med (CC-BY-NC-4.0), and answers were made with "
        "GPT-4V; each figure has the licence of its article, so the figures are never redistributed as one set."
    )
    redistributable = False
    access = "open"
    how_to_get = (
        "`hf download mao1207/BioMed-VITAL-instructions BioMed-VITAL-instructions-210K.json --repo-type dataset` "
        "(463 MB).",
        "Figures: take `data/PMC_image_urls.jsonl` of https://github.com/mao1207/BioMed-VITAL (Git LFS); for each "
        "line download `pmc_tar_url`, extract `image_file_path` (guard against paths that leave the folder) and save "
        "it as `images/<pair_id>.jpg`. Over 1 TB if the archives are kept; some articles are gone.",
        "Pass the folder that holds the JSON file and `images/`.",
    )
    modality = "Multimodal"
    family = "text-image"
    domains = ("Multiple",)
    tasks = ("Diagnostics",)
    published_splits = {"train": 168000, "test": 42000}
    cautions = (
        "Answers are synthetic (GPT-4V): never take them for the truth of a diagnosis.",
        "The CLIMB paper prints 42,000 train and 168,000 test rows; the two numbers are swapped.",
        "A figure occurs in several rows, and an article in several figures: only a split by article is safe.",
    )
    unavailable_splits = {"paper": "the paper's draw is random without a seed, and no list was published;"}
    #: `part`: which file, the largest by default; `require_image=True` leaves rows without their picture out.
    extra_options = {"part": None, "require_image": False}
    fingerprint_patterns = (FILE.format("*"), "images")
    root_markers = (FILE.format("*"),)

    def check_options(self, options: Options) -> None:
        """Check the own option too."""
        super().check_options(options)
        if options["part"] not in (None, *PARTS):
            raise OptionError(f"{self.name}: `part` must be one of {list(PARTS)}, got {options['part']!r}.")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the rows of one file; of each only its place, figure and a digest are kept."""
        files = {part: FILE.format(part) for part in PARTS if (root / FILE.format(part)).is_file()}
        file = FILE.format(options["part"]) if options["part"] else next(iter(files.values()), FILE.format(PARTS[0]))
        if file not in files.values():
            raise missing_table(root / file)
        pictures = {path.name for path in (root / "images").glob("*")}
        seen: Counter[str] = Counter()
        first: dict[bytes, str] = {}
        n_absent = 0
        for start, end, row in iter_json_rows(root / file):
            try:
                image: Any = row.get("image") if isinstance(row, dict) else None
                match = FIGURE.fullmatch(Path(image).stem) if isinstance(image, str) else None
                if match is None or "/" in image or "\\" in image:
                    raise SchemaError(f"expected `image` to be <PMID>_<figure>.jpg, found {image!r}")
                turns = conversation_of(row)
            except SchemaError as error:
                yield Skipped(f"{file}, byte {start}", file, str(error), "SchemaError")
                continue
            figure = match[0]
            seen[figure] += 1
            name = f"{figure}#{seen[figure]}"
            is_there = image in pictures
            n_absent += not is_there
            if options["require_image"] and not is_there:
                yield LeftOut(name, "row without its picture (`require_image=True`)")
                continue
            digest = hashlib.blake2b(repr((image, turns)).encode(), digest_size=16).digest()
            yield Record(
                id=name,
                group=match[1],
                files=(f"images/{image}",) if is_there else (),
                duplicate_of=first.get(digest),
                metadata={"pair_id": figure, "pmid": match[1], "file": file, "bytes": [start, end]},
            )
            first.setdefault(digest, name)
        if n_absent:
            logger.warning("%s: %d rows have no picture in `images/`; their `image` is null", self.name, n_absent)

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Read the row at its place in the JSON file, and the picture where there is one."""
        facts = record.metadata or {}
        row = read_json_row(root / facts["file"], *facts["bytes"])
        turns = conversation_of(row)
        first = next((text for role, text in turns if role == "user"), "")
        metadata = {
            "id": str(row["id"]) if "id" in row else None,
            "part": "BioMed-VITAL" if isinstance(row.get("id"), int) else "LLaVA-Med",
            "domain": sorted(name for name, is_set in (row.get("domain") or {}).items() if is_set is True),
            "n_turns": len(turns),
            "image_token": None if IMAGE_TOKEN not in first else "first" if first.startswith(IMAGE_TOKEN) else "last",
            **{key: row.get(key) for key in CAPTIONS},
        }
        image = read_image_columns(root / record.files[0], options) if record.files else {}
        messages = to_messages(turns, has_image=bool(record.files))
        return {**image, "text": to_text(turns), "messages": messages, "metadata": metadata}
