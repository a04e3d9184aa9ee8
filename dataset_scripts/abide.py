"""ABIDE: resting-state brain networks of autism and control subjects from 20 sites, by Di Martino et al., 2014.

Features: nodes are the 200 regions of the Craddock atlas; node features are the rows of the matrix of
Fisher-transformed correlations, edges its non-zero entries. Classes: 1 = ASD, 2 = control. Splits: none published;
default by subject (hash), 80/20. Access: open. Licence: CC-BY-NC-SA-3.0. Cite: doi 10.1038/mp.2013.78.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import LayoutError, OptionError, SchemaError
from climb_hf.readers.afni_1d import has_points, read_1d
from climb_hf.readers.braingb import ARRAYS, autism_label, read_abide_array
from climb_hf.readers.connectome import (
    CONNECTOME_OPTIONS,
    check_connectome,
    check_connectome_options,
    connectome_columns,
    correlation_matrix,
    fisher_z,
)
from climb_hf.readers.tables import is_junk, read_csv_rows, to_float
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

PHENOTYPES = "Phenotypic_V1_0b_preprocessed1.csv"
MISSING = ("", "-9999", "NA", "nan")
SEX = {"1": "male", "2": "female"}
NUMBERS = ("FIQ", "VIQ", "PIQ", "DSM_IV_TR", "EYE_STATUS_AT_SCAN", "func_mean_fd", "func_perc_fd", "SUB_IN_SMP")
TEXTS = ("HANDEDNESS_CATEGORY", "qc_rater_1", *(f"qc_{what}_rater_{k}" for k in (2, 3) for what in ("anat", "func")))


class Abide(Source):
    """ABIDE I, C-PAC pipeline."""

    name = "abide"
    title = "ABIDE I (C-PAC, Craddock 200)"
    homepage = "https://fcon_1000.projects.nitrc.org/indi/abide/abide_I.html"
    citation = (
        "@article{dimartino2014abide, title={The autism brain imaging data exchange: towards a large-scale evaluation "
        "of the intrinsic brain architecture in autism}, author={Di Martino, Adriana and others}, journal={Molecular "
        "Psychiatry}, volume={19}, pages={659--667}, year={2014}}"
    )
    license = "CC-BY-NC-SA-3.0"
    license_note = "Non-commercial, share alike, with attribution; raw images (not used here) need a NITRC account."
    redistributable = True
    access = "open"
    how_to_get = (
        "From https://s3.amazonaws.com/fcp-indi/data/Projects/ABIDE_Initiative/ (no account needed) download "
        "`Phenotypic_V1_0b_preprocessed1.csv` and `Outputs/cpac/filt_noglobal/rois_cc200/<FILE_ID>_rois_cc200.1D` of "
        "all subjects; nilearn does it: `fetch_abide_pcp(pipeline='cpac', band_pass_filtering=True, "
        "global_signal_regression=False, derivatives=['rois_cc200'], quality_checked=False)`.",
        "Pass the folder that holds the table. BrainGB's `abide.npy` is read where there is no table.",
    )
    modality = "BrainNet"
    family = "graph"
    domains = ("Radiology",)
    tasks = ("Classification",)
    published_splits = {"train": 807, "test": 202}
    cautions = (
        "In BrainGB's `abide.npy` 0 is autism and 1 is control, against its README and the CLIMB paper's code; the "
        "array has neither ids nor demographics, so prefer the series and the table.",
        "Sites differ in scanner and repetition time: also evaluate by site (`metadata['site']`).",
        "Nodes correlate by the Ledoit-Wolf shrunk estimate, then Fisher's z, as in the paper; see `correlation`.",
    )
    unavailable_splits = {"paper": "the paper's 80/20 draw is random without a seed and no list was published;"}
    extra_options = {
        **CONNECTOME_OPTIONS, "correlation": "ledoit_wolf", "fisher_z": True, "min_points": 100, "asd_label": None,
        "pipeline": "cpac", "strategy": "filt_noglobal", "atlas": "cc200", "partial": False,
    }  # fmt: skip
    fingerprint_patterns = (PHENOTYPES, *ARRAYS, "**/*_rois_*.1D")
    root_markers = (PHENOTYPES, *ARRAYS)

    def check_options(self, options: Options) -> None:
        """Check the options of brain networks and of this source."""
        super().check_options(options)
        check_connectome_options(self.name, options.extra)
        if options["correlation"] not in ("ledoit_wolf", "pearson"):
            raise OptionError(f"{self.name}: `correlation` must be 'ledoit_wolf' or 'pearson'.")
        if options["asd_label"] not in (None, 0, 1):
            raise OptionError(f"{self.name}: `asd_label` must be 0 or 1, or absent, got {options['asd_label']!r}.")
        if type(options["min_points"]) is not int or options["min_points"] < 2:
            raise OptionError(f"{self.name}: `min_points` must be a whole number of at least 2.")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the subjects of the phenotype table, or the rows of `abide.npy` where there is none."""
        if not (root / PHENOTYPES).is_file():
            yield from self._array_rows(root, options)
            return
        ending = f"_rois_{options['atlas']}.1D"
        folders = f"**/{options['pipeline']}/{options['strategy']}/**/*{ending}"
        found = [path for path in sorted(root.glob(folders)) if not is_junk(path.name)]
        if not found:
            raise LayoutError(f"{self.name}: no `{folders}` in `{root}`. {self.how_to_get[0]}")
        files = {path.name: path for path in reversed(found)}  # of several copies the first in order
        needed = ("SUB_ID", "SITE_ID", "FILE_ID", "DX_GROUP", "AGE_AT_SCAN", "SEX")
        for row in read_csv_rows(root / PHENOTYPES, required=needed):
            id_, name = row["SUB_ID"].strip(), f"{row['FILE_ID'].strip()}{ending}"
            path = files.pop(name, None)
            if name == f"no_filename{ending}":
                yield LeftOut(id_, "no usable functional data (`FILE_ID` is `no_filename`)")
            elif path is None and options["partial"]:
                yield LeftOut(id_, "series not present (`partial=True`)")
            elif path is not None and not has_points(path, options["min_points"]):
                yield LeftOut(id_, f"series of fewer than {options['min_points']} time points")
            else:
                folder = found[0].parent if path is None else path.parent
                yield self._record(id_, row, (folder / name).relative_to(root).as_posix())
        for name in sorted(files):
            yield LeftOut(name.removesuffix(ending), f"series without a row in `{PHENOTYPES}`")

    def _record(self, id_: str, row: dict[str, str], file: str) -> Record | Skipped:
        if (sex := SEX.get(row["SEX"].strip())) is None and row["SEX"].strip() not in MISSING:
            return Skipped(id_, PHENOTYPES, f"expected `SEX` 1 or 2, found {row['SEX']!r}", "SchemaError")
        try:
            numbers = {name.lower(): to_float(row.get(name, ""), MISSING) for name in NUMBERS}
            age = to_float(row["AGE_AT_SCAN"], MISSING)
        except SchemaError as error:
            return Skipped(id_, PHENOTYPES, str(error), "SchemaError")
        cells = {name.lower(): row.get(name, "").strip() for name in TEXTS}
        texts = {name: None if cell in MISSING else cell for name, cell in cells.items()}
        metadata = {"sub_id": id_, "site": row["SITE_ID"].strip(), **numbers, **texts}
        label = (row["DX_GROUP"].strip(),)
        return Record(id=id_, group=id_, raw_labels=label, files=(file,), age=age, sex=sex, metadata=metadata)

    def _array_rows(self, root: Path, options: Options) -> Iterator[Record]:
        data = read_abide_array(root)
        asd = autism_label(data["label"], options["asd_label"], self.name)
        for position, (label, site) in enumerate(zip(data["label"].tolist(), data["site"], strict=True)):
            id_, metadata = f"{position:04d}", {"row": position, "label": label, "site": str(site)}
            raw = ("1",) if label == asd else ("2",)  # as `DX_GROUP` has it
            yield Record(id=id_, group=id_, raw_labels=raw, files=(data["file"],), metadata=metadata)

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the network of one subject."""
        if record.files[0].endswith(".npy"):
            matrix, facts = check_connectome(read_abide_array(root)["corr"][int(record.id)])
        else:
            series = read_1d(root / record.files[0])
            matrix = correlation_matrix(series, options["correlation"])
            matrix = fisher_z(matrix) if options["fisher_z"] else matrix
            facts = {"num_points": len(series), "num_constant_regions": int((np.ptp(series, axis=0) == 0).sum())}
        columns = connectome_columns(matrix, **{name: options[name] for name in CONNECTOME_OPTIONS})
        return {**columns, "metadata": {**facts, **columns["metadata"]}}
