"""PPMI: structural brain networks of 718 scans of Parkinson's disease patients and controls, by Marek et al., 2011.

Features: nodes are 84 FreeSurfer regions; three matrices (tractography algorithms) per scan, of which the first is
used: its rows are the node features, its non-zero entries the edges. Classes: -1 = Control, 1 = PD patients. Splits:
none published; default by subject where `ids.txt` is given, else by scan (hash), 80/20. Access: by application.
Licence: data use agreement. Cite: doi 10.1016/j.pneurobio.2011.09.005.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError, LayoutError, OptionError, SchemaError
from climb_hf.readers.connectome import (
    CONNECTOME_OPTIONS,
    check_connectome,
    check_connectome_options,
    connectome_columns,
)
from climb_hf.readers.mat_networks import load_mat, read_cells
from climb_hf.readers.tables import is_junk, read_csv_rows
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

logger = logging.getLogger(__name__)

FILE, IDS, LABELS = "PPMI.mat", "ids.txt", "labels.csv"
PUBLISHED = (718, 84)  # networks and regions


class Ppmi(Source):
    """PPMI connectomes as BrainGB and the CLIMB paper use them."""

    name = "ppmi"
    title = "PPMI structural connectomes"
    homepage = "https://www.ppmi-info.org/"
    citation = (
        "@article{marek2011ppmi, title={The Parkinson Progression Marker Initiative (PPMI)}, author={Marek, Kenneth "
        "and others}, journal={Progress in Neurobiology}, volume={95}, pages={629--635}, year={2011}}"
    )
    license = "LicenseRef-PPMI-DUA"
    license_note = "The data use agreement forbids passing the data on, derived connectomes included."
    redistributable = False
    access = "application"
    how_to_get = (
        "Apply at https://www.ppmi-info.org/access-data-specimens/download-data (data use agreement).",
        "Ask the BrainGB group for `PPMI.mat` (https://braingb.us/datasets/); PPMI itself does not distribute it. Or "
        "make `<subject>_<visit>.mat` files with a matrix `connectivity` and a table `labels.csv` (`id,label`).",
        "Pass the folder that holds them. A list `ids.txt`, one subject per network, keeps subjects apart.",
    )
    modality = "BrainNet"
    family = "graph"
    domains = ("Radiology",)
    tasks = ("Classification",)
    published_splits = {"train": 572, "test": 143}
    cautions = (
        "The file has no subject ids and likely several visits of a subject, so without `ids.txt` the split cannot "
        "keep a subject's visits together: scores are then too high.",
        "The file holds no age, sex or visit, and cannot be joined to PPMI's own tables.",
        "The two directions of a connection may differ a little; edges carry their mean (`metadata['asymmetry']`).",
    )
    unavailable_splits = {"paper": "the paper's 80/20 draw is random without a seed and no list was published;"}
    extra_options = {**CONNECTOME_OPTIONS, "view": 0, "pd_label": None, "id_file": None}
    fingerprint_patterns = (FILE, IDS, LABELS, "*_*.mat")
    root_markers = (FILE, LABELS)

    def check_options(self, options: Options) -> None:
        """Check the options of brain networks and of this source."""
        super().check_options(options)
        check_connectome_options(self.name, options.extra)
        view, pd_label = options["view"], options["pd_label"]
        if isinstance(view, bool) or view not in (0, 1, 2, "all"):
            raise OptionError(f"{self.name}: `view` must be 0, 1, 2 or 'all', got {view!r}.")
        if pd_label not in (None, -1, 1):
            raise OptionError(f"{self.name}: `pd_label` must be -1 or 1, or absent, got {pd_label!r}.")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the networks of the file, or of the folder."""
        if not (root / FILE).is_file():
            yield from self._folder(root, options)
            return
        networks, labels = read_cells(root)
        if (len(networks), len(networks[0])) != PUBLISHED:
            logger.warning(
                "%s: `%s` holds %d networks of %d regions, the published file %d of %d",
                self.name, FILE, len(networks), len(networks[0]), *PUBLISHED,
            )  # fmt: skip
        path = Path(options["id_file"] or root / IDS).expanduser()
        subjects = path.read_text(encoding="utf-8-sig").split() if path.is_file() else None
        if subjects is None and options["id_file"]:
            raise LayoutError(f"{self.name}: `id_file` not found: `{path}`.")
        if subjects is not None and len(subjects) != len(networks):
            raise LayoutError(f"{self.name}: expected {len(networks)} subjects in `{path}`, found {len(subjects)}.")
        sign = self._sign(labels.tolist(), options)
        for position, label in enumerate(labels.tolist()):
            name = f"{position:04d}"
            subject = None if subjects is None else subjects[position]
            yield self._record(name, subject or name, label, sign, FILE, {"row": position, "subject": subject})

    def _folder(self, root: Path, options: Options) -> Iterator[Record | LeftOut]:
        rows = read_csv_rows(root / LABELS, required=("id", "label"))
        labels = {row["id"].strip(): row["label"].strip() for row in rows}
        if unknown := sorted(set(labels.values()) - {"-1", "1"}):
            raise SchemaError(f"{self.name}: expected labels -1 and 1 in `{LABELS}`, found {unknown[:5]}.")
        files = [path.name for path in sorted(root.glob("*_*.mat")) if not is_junk(path.name)]
        subject_of = {file: file.split("_")[0] for file in files}
        known = {file: int(labels[subject]) for file, subject in subject_of.items() if subject in labels}
        sign = self._sign(list(known.values()), options)
        for file, subject in subject_of.items():
            if file in known:
                metadata = {"subject": subject, "visit": Path(file).stem.split("_", 1)[1]}
                yield self._record(Path(file).stem, subject, known[file], sign, file, metadata)
            else:
                yield LeftOut(Path(file).stem, f"no row in `{LABELS}`")

    def _sign(self, labels: list[int], options: Options) -> int:
        """Return -1 where the file's labels are the other way round: most scans are of patients."""
        if options["pd_label"] is not None:
            return int(options["pd_label"])
        if sum(labels) >= 0:
            return 1
        logger.warning("%s: most labels are -1; they are taken as PD patients (`pd_label=1` keeps 1)", self.name)
        return -1

    def _record(self, id_: str, group: str, label: int, sign: int, file: str, metadata: dict[str, Any]) -> Record:
        values = (str(label * sign),)
        return Record(
            id=id_, group=group, raw_labels=(str(label),), label_values=values, files=(file,), metadata=metadata
        )

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the network of one scan in the chosen view."""
        if record.files[0] == FILE:
            views = read_cells(root)[0][int(record.id)]
        else:
            views = load_mat(root / record.files[0], "connectivity")["connectivity"]
            views = views[:, :, None] if views.ndim == 2 else views
        if options["view"] != "all" and options["view"] >= views.shape[2]:
            raise CorruptFileError(f"expected at least {options['view'] + 1} views, found {views.shape[2]}")
        chosen = views if options["view"] == "all" else views[:, :, options["view"]]
        matrix, facts = check_connectome(chosen, asymmetric="mean")
        profile = chosen if chosen.ndim == 2 else chosen[:, :, 0]
        columns = connectome_columns(matrix, profile=profile, **{name: options[name] for name in CONNECTOME_OPTIONS})
        return {**columns, "metadata": {**facts, "view": options["view"], **columns["metadata"]}}
