"""ABCD: resting-state brain networks of 9,563 children of 9 and 10 years, by the ABCD study (Casey et al., 2018).

Features: nodes are the 360 regions of the HCP atlas; node features are the rows of the Pearson correlation matrix,
edges its non-zero entries off the diagonal. Classes: F = Female, M = Male (what earlier code predicts); Normal and
Abnormal from a table of the user's own. Splits: none published; default by subject (hash), 80/20. Access: by
application to the NIH. Licence: data use certification. Cite: doi 10.1016/j.dcn.2018.03.001.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import CorruptFileError, LayoutError, SchemaError
from climb_hf.readers.connectome import (
    CONNECTOME_OPTIONS,
    check_connectome,
    check_connectome_options,
    connectome_columns,
)
from climb_hf.readers.tables import find_table, missing_table, read_csv_rows
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

MATRICES = "abcd_rest-pearson-HCP2016.npy"
IDS = "ids_HCP2016.txt"
SEXES = "id2sex.txt"
WITH_SERIES = "ids_HCP2016_timeseires.txt"  # the publisher's spelling
LABELS = "labels.csv"
SEX = {"F": "female", "M": "male"}


class Abcd(Source):
    """ABCD resting-state connectomes as BrainGB and the CLIMB paper use them."""

    name = "abcd"
    title = "ABCD resting-state connectomes (HCP 2016 atlas)"
    homepage = "https://abcdstudy.org/"
    citation = (
        "@article{casey2018abcd, title={The Adolescent Brain Cognitive Development (ABCD) study: imaging acquisition "
        "across 21 sites}, author={Casey, B. J. and others}, journal={Developmental Cognitive Neuroscience}, "
        "volume={32}, pages={43--54}, year={2018}}"
    )
    license = "LicenseRef-ABCD-DUC"
    license_note = "The NIH data use certification forbids passing the data on, derived connectomes included."
    redistributable = False
    access = "application"
    how_to_get = (
        "Apply for the ABCD study at https://nbdc-datahub.org/ (your institution signs the data use certification).",
        "Build the connectomes from the ABCD-BIDS derivatives, or get `abcd_rest-pearson-HCP2016.npy`, "
        "`ids_HCP2016.txt` and `id2sex.txt` from colleagues under the same certificate (https://braingb.us/datasets/).",
        "Pass the folder that holds these files; `labels.csv` (columns `id,label`: Normal or Abnormal) is optional.",
    )
    modality = "BrainNet"
    family = "graph"
    domains = ("Radiology",)
    tasks = ("Classification",)
    published_splits = {"train": 7650, "test": 1613}
    cautions = (
        "The files hold no diagnosis: the CLIMB paper's classes are Normal and Abnormal, its code predicts sex. The "
        "default classes are Female and Male; `labels='diagnosis'` needs a table of your own.",
        "Earlier code takes the label at a matrix's position, although the tables differ; here they are joined by id.",
        "Siblings and twins are not marked in these files, so families may stand on both sides of a split.",
        "A dense graph takes 3.6 MB: all 9,563 need 35 GB of cache; `density=0.1` needs 9.",
    )
    unavailable_splits = {"paper": "the paper's 80/20 draw is random without a seed and no list was published;"}
    label_schemes = ("climb", "raw", "diagnosis")
    option_schemes = {"label_file": "diagnosis"}
    extra_options = {**CONNECTOME_OPTIONS, "label_file": None}
    fingerprint_patterns = (MATRICES, IDS, SEXES, WITH_SERIES, LABELS)
    root_markers = (MATRICES,)

    def check_options(self, options: Options) -> None:
        """Check the options of brain networks."""
        super().check_options(options)
        check_connectome_options(self.name, options.extra)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the subjects in the order of the array, joined to the tables by id."""
        ids, matrices = _lines(root / IDS), _open(root)
        if len(ids) != len(matrices):
            raise LayoutError(
                f"{self.name}: expected one id per matrix, found {len(ids)} ids in `{IDS}` and {len(matrices)} "
                f"matrices in `{MATRICES}`, so they cannot be told apart. Restore both files from one release."
            )
        sexes = {row["id"].strip(): row["sex"].strip() for row in _rows(root / SEXES, ("id", "sex"))}
        diagnoses = self._diagnoses(root, options)
        in_series = set(_lines(root / WITH_SERIES)) if (root / WITH_SERIES).is_file() else None
        labels = sexes if diagnoses is None else diagnoses
        for position, id_ in enumerate(ids):
            sex, label = sexes.get(id_), labels.get(id_)
            if not label:
                yield LeftOut(id_, f"no {'sex' if diagnoses is None else 'diagnosis'} in the tables")
                continue
            metadata = {
                "row": position,
                "raw_sex": sex,
                "has_timeseries": None if in_series is None else id_ in in_series,
            }
            yield Record(
                id=id_, group=id_, raw_labels=(label,), files=(MATRICES,), sex=SEX.get(sex or ""), metadata=metadata
            )
        for id_ in sorted(labels.keys() - set(ids)):
            yield LeftOut(id_, f"label without a matrix in `{MATRICES}`")

    def _diagnoses(self, root: Path, options: Options) -> dict[str, str] | None:
        if self.label_scheme(options.labels, options.extra) != "diagnosis":
            return None
        path = Path(options["label_file"] or root / LABELS).expanduser()
        if find_table(path) is None:
            raise LayoutError(
                f"{self.name}: `{path}` not found. The publisher's files hold no diagnosis: write a table with the "
                "columns `id,label` (Normal or Abnormal) from the study's instruments, or use `labels='climb'` (sex)."
            )
        return {row["id"].strip(): row["label"].strip() for row in read_csv_rows(path, required=("id", "label"))}

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the network of one subject; only its own matrix is read from the file."""
        matrix, facts = check_connectome(_open(root)[(record.metadata or {})["row"]])
        columns = connectome_columns(matrix, **{name: options[name] for name in CONNECTOME_OPTIONS})
        facts |= {"has_nan": facts["num_nan"] > 0, **columns["metadata"]}
        return {**columns, "metadata": facts}


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise missing_table(path)
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _rows(path: Path, required: tuple[str, ...]) -> Iterator[dict[str, str]]:
    if not path.is_file():
        raise missing_table(path)
    return read_csv_rows(path, required=required)


def _open(root: Path) -> np.ndarray:
    """Map the array of matrices into memory."""
    try:
        matrices = np.load(root / MATRICES, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CorruptFileError(f"`{root / MATRICES}`: expected a whole array of numbers ({error}).") from error
    if matrices.ndim != 3:
        raise SchemaError(f"`{root / MATRICES}`: expected (subjects, regions, regions), found {matrices.shape}.")
    return matrices
