"""LNDb: windows of 24 slices from 294 low-dose chest CTs with nodules marked by radiologists, by Pedrosa et al., 2019.

Features: MetaImage volumes (512 to 804 pixels, 251 to 631 slices), shown in the lung window; masks of up to three
readers, merged: the value is the number of the finding in `metadata["findings"]`. Porto, 2016 to 2018.
Classes: the largest nodule in the window: at least 3 mm, smaller, or none (`non-nodule`).
Splits: by CT (hash), 75/25, of the 236 CTs with published labels; `split_by="paper"`: 171 of 229 CTs, by id.
Licence: unsettled; taken as CC-BY-NC-ND-4.0. Cite: doi 10.48550/arXiv.1911.08434.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import ClimbError, LayoutError
from climb_hf.readers.mhd import open_mhd
from climb_hf.readers.nodule_tables import CtTables, Span, ct_files, ct_spans, read_ct_tables
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

SLICES, STRIDE, ENOUGH = 24, 12, 2  # of a window; between windows; slices of a nodule that make it count
LARGE, SMALL, NONE = "nodule >= 3mm", "nodule < 3mm", "non-nodule"


class Lndb(Source):
    """LNDb."""

    name = "lndb"
    title = "LNDb: lung nodules in low-dose chest CT"
    homepage = "https://lndb.grand-challenge.org/"
    citation = (
        "@article{pedrosa2019lndb, title={LNDb: A Lung Nodule Database on Computed Tomography}, author={Pedrosa, "
        "Jo{\\~a}o and others}, journal={arXiv:1911.08434}, year={2019}, doi={10.48550/arXiv.1911.08434}}"
    )
    license = "CC-BY-NC-ND-4.0"
    license_note = "Reports differ (CC-BY-4.0 too); the stricter one is assumed, which forbids adapted copies."
    redistributable = False
    access = "open"
    how_to_get = (
        "Download every file of https://zenodo.org/records/8348419 (doi 10.5281/zenodo.8348419, no account needed).",
        "Unpack the `.rar` archives with `unrar` (149 GB in all; libarchive cannot) and the tables' `.zip`.",
        "Pass the folder that holds `trainset_csv/` (or its tables), `masks/` and the CTs, in folders or not.",
    )
    modality = "CT"
    family = "frames"
    domains = ("Radiology", "Oncology")
    tasks = ("Diagnostics", "Abnormality Detection")
    published_splits = {"train": 4130, "test": 1431}
    cautions = (
        "A record is a window of 24 slices every 12, so neighbours overlap by half: take intervals over CTs.",
        "A class needs two slices of a nodule in the window. The published code also counted the slice behind the "
        '24, which is not shown; `split_by="paper"` does so too, the default does not.',
        "The paper scored two classes, with a nodule of at least 3 mm or without: `metadata['has_large']`.",
        "Without `masks/` a nodule is taken for a sphere of its volume; labels at its border may differ.",
        "Findings that one reader of three marked count as much as those of all three; `readers` names them.",
    )
    splits = ("official", "paper")
    fractions = {"train": 0.75, "test": 0.25}
    extra_options = {"window": "lung", "bit_depth": 8}
    fingerprint_patterns = (
        "train*.csv", "test*.csv", "*/train*.csv", "*/test*.csv", "LNDb-*.mhd", "*/LNDb-*.mhd", "*.csv",
    )  # fmt: skip
    root_markers = ("trainset_csv", "trainNodules.csv", "trainCTs.csv", "data0")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Cut the CTs of the tables into windows, by id; headers and, around nodules, masks are read."""
        tables, files = read_ct_tables(root), ct_files(root)
        if not files.scans:
            raise LayoutError(f"{self.name}: no `LNDb-*.mhd` below `{root}`. {self.how_to_get[1]}")
        is_paper, spans = options.split_by == "paper", ct_spans(root)
        marked = list(tables.merged)
        train = set(marked[: int(0.75 * len(marked))])  # taken on the table, not on the files present
        for number in sorted(tables.listed | files.scans.keys()):
            name, found = f"LNDb-{number:04d}", spans.get(number)
            if number in tables.unlabelled:
                yield LeftOut(name, "CT of the test set, whose labels are not published")
            elif number not in tables.listed:
                yield LeftOut(name, "CT without a row in the tables")
            elif is_paper and number not in tables.merged:
                yield LeftOut(name, "CT without any finding, which the paper does not use")
            elif found is None:
                yield LeftOut(name, "CT of the tables that is not there (partial download)")
            elif isinstance(found, ClimbError):
                yield Skipped(name, files.scans[number], str(found), type(found).__name__)
            elif found[0] < SLICES + STRIDE:
                yield LeftOut(name, f"CT of less than {SLICES + STRIDE} slices, which holds no window")
            else:
                masks = files.masks.get(number, {})
                scan = files.scans[number]
                voxels = open_mhd(root / scan, check=False).path.relative_to(root).as_posix()
                about = {"lndb_id": number, "n_slices": found[0], "mask_readers": sorted(masks)}
                about |= tables.about.get(number, {})
                for start, metadata in _windows(tables, number, *found, behind=int(is_paper)):
                    yield Record(
                        id=f"{name}_{start:03d}",
                        group=name,
                        split=("train" if number in train else "test") if is_paper else None,
                        raw_labels=(metadata.pop("label"),),
                        files=(scan, voxels, *(masks[reader] for reader in sorted(masks))),
                        metadata={**about, **metadata},
                    )

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Read the slices of the window, and the readers' masks with the numbers of merged findings."""
        from climb_hf.processing.volumes import MaskLayer, read_volume_columns

        about, tables = record.metadata or {}, read_ct_tables(root)
        layers = [
            MaskLayer(open_mhd(root / file), tables.codes(about["lndb_id"], reader))
            for reader, file in zip(about["mask_readers"], record.files[2:], strict=True)
        ]
        slices = range(about["start_slice"], about["start_slice"] + SLICES)
        return read_volume_columns(open_mhd(root / record.files[0]), options, slices=slices, masks=layers)


def _windows(
    tables: CtTables, number: int, n_slices: int, spans: list[Span], *, behind: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield first slice, label and findings of every window; `behind` slices after its end count for the label too."""
    for start in range(0, (n_slices - SLICES) // STRIDE * STRIDE, STRIDE):
        counts: Counter[str] = Counter()
        inside = []
        for value, (finding, (first, last, origin)) in enumerate(zip(tables.findings(number), spans, strict=True), 1):
            overlap = max(0, min(last + 1, start + SLICES + behind) - max(first, start))
            counts[LARGE if finding.is_large else SMALL if finding.is_small else NONE] += overlap
            if overlap:
                place = {"first_slice": first, "last_slice": last, "slices_from": origin, "mask_value": value}
                inside.append({**tables.describe(number, finding), **place})
        label = next((size for size in (LARGE, SMALL) if counts[size] >= ENOUGH), NONE)
        flags = {"has_large": counts[LARGE] >= ENOUGH, "has_small": counts[SMALL] >= ENOUGH}
        yield start, {"label": label, "start_slice": start, **flags, "findings": inside}
