"""Synthetic raw copy of ABIDE: region time series and a phenotype table, or BrainGB's `abide.npy`.

Every series is drawn at random; no value comes from a person. In subjects of `ASD` the regions of the first half swing
together, in `Typical controls` those of the second half.

Oddities of the release that it writes:

* 106 columns, an unnamed index column first and `Unnamed: 0` second, `SUB_ID` of 5 digits and 7 digits in the file
  names, `no_filename` for subjects without usable series, missing values as empty cells and as `-9999`;
* series of 78 time points at OHSU (left out by the rule of 100), of 100 and more elsewhere; a comment line of region
  numbers, tabs, a region that never changes;
* a series that no row names, `.DS_Store`;
* `abide.npy`: a pickled dictionary whose key is spelt `timeseires`, with `label` = `DX_GROUP` - 1.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, write_bytes, write_csv, write_text
from climb_hf.miniatures._networks import npy_bytes, series

__all__ = ["make"]

_FOLDERS = {
    "pcp": "ABIDE_pcp/cpac/filt_noglobal",
    "braingb": "ABIDE_pcp/cpac/filt_noglobal/{sub_id}",
    "s3": "Outputs/cpac/filt_noglobal/rois_cc200",
    "npy": "",
}
_SITES = {"PITT": "Pitt", "CMU": "CMU_a", "MAX_MUN": "MaxMun_a", "NYU": "NYU", "UM_1": "UM_1", "LEUVEN_2": "Leuven_2"}
_CLASSES = {1: "ASD", 2: "Typical controls"}
_HANDS = ("R", "L", "", "Ambi", "-9999", "R", "Mixed", "L->R")
_COLUMN_NAMES = (
    ",Unnamed: 0,SUB_ID,X,subject,SITE_ID,FILE_ID,DX_GROUP,DSM_IV_TR,AGE_AT_SCAN,SEX,HANDEDNESS_CATEGORY,"
    "HANDEDNESS_SCORES,FIQ,VIQ,PIQ,FIQ_TEST_TYPE,VIQ_TEST_TYPE,PIQ_TEST_TYPE,ADI_R_SOCIAL_TOTAL_A,"
    "ADI_R_VERBAL_TOTAL_BV,ADI_RRB_TOTAL_C,ADI_R_ONSET_TOTAL_D,ADI_R_RSRCH_RELIABLE,ADOS_MODULE,ADOS_TOTAL,ADOS_COMM,"
    "ADOS_SOCIAL,ADOS_STEREO_BEHAV,ADOS_RSRCH_RELIABLE,ADOS_GOTHAM_SOCAFFECT,ADOS_GOTHAM_RRB,ADOS_GOTHAM_TOTAL,"
    "ADOS_GOTHAM_SEVERITY,SRS_VERSION,SRS_RAW_TOTAL,SRS_AWARENESS,SRS_COGNITION,SRS_COMMUNICATION,SRS_MOTIVATION,"
    "SRS_MANNERISMS,SCQ_TOTAL,AQ_TOTAL,COMORBIDITY,CURRENT_MED_STATUS,MEDICATION_NAME,OFF_STIMULANTS_AT_SCAN,"
    "VINELAND_RECEPTIVE_V_SCALED,VINELAND_EXPRESSIVE_V_SCALED,VINELAND_WRITTEN_V_SCALED,"
    "VINELAND_COMMUNICATION_STANDARD,VINELAND_PERSONAL_V_SCALED,VINELAND_DOMESTIC_V_SCALED,"
    "VINELAND_COMMUNITY_V_SCALED,VINELAND_DAILYLVNG_STANDARD,VINELAND_INTERPERSONAL_V_SCALED,VINELAND_PLAY_V_SCALED,"
    "VINELAND_COPING_V_SCALED,VINELAND_SOCIAL_STANDARD,VINELAND_SUM_SCORES,VINELAND_ABC_STANDARD,VINELAND_INFORMANT,"
    "WISC_IV_VCI,WISC_IV_PRI,WISC_IV_WMI,WISC_IV_PSI,WISC_IV_SIM_SCALED,WISC_IV_VOCAB_SCALED,WISC_IV_INFO_SCALED,"
    "WISC_IV_BLK_DSN_SCALED,WISC_IV_PIC_CON_SCALED,WISC_IV_MATRIX_SCALED,WISC_IV_DIGIT_SPAN_SCALED,"
    "WISC_IV_LET_NUM_SCALED,WISC_IV_CODING_SCALED,WISC_IV_SYM_SCALED,EYE_STATUS_AT_SCAN,AGE_AT_MPRAGE,BMI,anat_cnr,"
    "anat_efc,anat_fber,anat_fwhm,anat_qi1,anat_snr,func_efc,func_fber,func_fwhm,func_dvars,func_outlier,func_quality,"
    "func_mean_fd,func_num_fd,func_perc_fd,func_gsr,qc_rater_1,qc_notes_rater_1,qc_anat_rater_2,qc_anat_notes_rater_2,"
    "qc_func_rater_2,qc_func_notes_rater_2,qc_anat_rater_3,qc_anat_notes_rater_3,qc_func_rater_3,qc_func_notes_rater_3,"
    "SUB_IN_SMP"
)
_COLUMNS = _COLUMN_NAMES.split(",")


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "pcp", regions: int = 20) -> list[Expected]:
    """Write a synthetic ABIDE folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of subjects with a usable series, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of the content.
        layout (`str`, *optional*, defaults to `"pcp"`): `"pcp"` (all series in one folder), `"braingb"` (a folder per
            subject, `abide.npy` beside them), `"s3"` (the tree of the publisher's bucket) or `"npy"` (`abide.npy`
            alone; load it with `asd_label=0`).
        regions (`int`, *optional*, defaults to `20`): regions; the real atlas has 200.

    Returns:
        `list[Expected]`: by row of the table; `values`: `age`, `sex`, `site`, `num_nodes`, `num_points`, `constant`
        (region that never changes, or `None`), `fiq`, `file`. With `"npy"` by row of the array: `site`, `label`,
        `num_nodes`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("abide", n, seed)
    check_choice("abide", "layout", layout, tuple(_FOLDERS))
    rows: list[dict[str, object]] = []
    expected, recorded = [], []
    for number in range(n):
        group = 1 + number % 2
        site = list(_SITES)[number % len(_SITES)]
        row = _row(number, site, group, seed)
        values = _series(number, group, regions, seed)
        recorded.append((values, group, site))
        name = f"{row['FILE_ID']}_rois_cc200.1D"
        file = f"{_FOLDERS[layout]}/{name}".format(sub_id=row["SUB_ID"])
        if layout != "npy":
            write_text(root / file, _text(values))
            rows.append(row)
        expected.append(_expected(row, group, site, values, number, file))
    if layout in ("braingb", "npy"):
        order = list(rng(seed, "abide", "listdir").permutation(n))
        content = npy_bytes(np.array(_dictionary([recorded[i] for i in order])))
        write_bytes(root / ("ABIDE_pcp/abide.npy" if layout == "braingb" else "ABIDE.npy"), content)
    if layout == "npy":
        return [_expected_row(position, *recorded[i]) for position, i in enumerate(order)]
    _write_the_rest(root, layout, rows, n, regions, seed)
    return expected


def _write_the_rest(root: Path, layout: str, rows: list[dict[str, object]], n: int, regions: int, seed: int) -> None:
    """Write the table with its rows of no use, a short series and one that no row names."""
    folder = root / _FOLDERS[layout].replace("/{sub_id}", "")
    short = _row(n, "NYU", 1, seed) | {"SITE_ID": "OHSU", "FILE_ID": "OHSU_0050142", "SUB_ID": 50142}
    write_text(folder / "OHSU_0050142_rois_cc200.1D", _text(_series(n, 1, regions, seed)[:78]))
    unnamed = _row(n + 1, "NYU", 2, seed) | {"FILE_ID": "no_filename"}
    write_text(folder / "NYU_0059999_rois_cc200.1D", _text(_series(n + 1, 2, regions, seed)))
    write_bytes(folder / ".DS_Store", b"\0\0\0\1Bud1")
    table = [*rows[:3], unnamed, *rows[3:], short]
    lines = [[row.get(column, "") for column in _COLUMNS] for row in table]
    for index, line in enumerate(lines, 1):
        line[0], line[1] = index, index + 1
    top = root if layout == "s3" else root / "ABIDE_pcp"
    write_csv(top / "Phenotypic_V1_0b_preprocessed1.csv", [_COLUMNS, *lines])


def _row(number: int, site: str, group: int, seed: int) -> dict[str, object]:
    """One row of the phenotype table, cells as they are written."""
    random = rng(seed, "abide", "row", number)
    sub_id = 50003 + 7 * number
    iq: object = ("", -9999, int(random.integers(70, 140)))[min(number % 9, 2)]
    row: dict[str, object] = {
        column: -9999 if random.random() < 0.4 else "" for column in _COLUMNS if column.startswith(("ADI", "ADOS"))
    }
    return row | {
        "SUB_ID": sub_id,
        "X": number + 2,
        "subject": sub_id,
        "SITE_ID": site,
        "FILE_ID": f"{_SITES[site]}_00{sub_id}",
        "DX_GROUP": group,
        "DSM_IV_TR": int(random.integers(1, 4)) if group == 1 else 0,
        "AGE_AT_SCAN": round(float(random.uniform(6.5, 60)), 2),
        "SEX": 2 if number % 6 == 4 else 1,
        "HANDEDNESS_CATEGORY": _HANDS[number % len(_HANDS)],
        "FIQ": iq,
        "VIQ": "",
        "PIQ": iq,
        "EYE_STATUS_AT_SCAN": 1 + number % 2,
        "func_mean_fd": round(float(random.uniform(0.02, 0.4)), 9),
        "func_perc_fd": round(float(random.uniform(0, 60)), 9),
        "qc_rater_1": "OK",
        "qc_notes_rater_1": "",
        "qc_anat_notes_rater_2": "skull-striping fail, maybe" if number % 5 == 0 else "",
        "SUB_IN_SMP": number % 2,
    }


def _series(number: int, group: int, regions: int, seed: int) -> NDArray[np.float64]:
    random = rng(seed, "abide", "series", number)
    values = series(random, 100 + 8 * (number % 4), regions, group == 1)
    if number % 8 == 3:
        values[:, number % regions] = 0.0
    return values.round(6)


def _text(values: NDArray[np.float64]) -> str:
    header = "\t".join(f"#{region}" for region in range(1, values.shape[1] + 1))
    return "\n".join([header, *("\t".join(f"{x:.6f}" for x in row) for row in values)]) + "\n"


def _expected(
    row: dict[str, object], group: int, site: str, values: NDArray[np.float64], number: int, file: str
) -> Expected:
    truths: dict[str, object] = {
        "age": float(str(row["AGE_AT_SCAN"])),
        "sex": "female" if row["SEX"] == 2 else "male",
        "site": site,
        "num_nodes": values.shape[1],
        "num_points": len(values),
        "constant": number % values.shape[1] if number % 8 == 3 else None,
        "fiq": None if row["FIQ"] in ("", -9999) else float(str(row["FIQ"])),
        "file": file,
    }
    return Expected(str(row["SUB_ID"]), None, str(row["SUB_ID"]), (_CLASSES[group],), truths)


def _expected_row(position: int, values: NDArray[np.float64], group: int, site: str) -> Expected:
    truths: dict[str, object] = {"site": site, "label": group - 1, "num_nodes": values.shape[1]}
    return Expected(f"{position:04d}", None, f"{position:04d}", (_CLASSES[group],), truths)


def _dictionary(recorded: list[tuple[NDArray[np.float64], int, str]]) -> dict[str, NDArray[np.generic]]:
    """The content of `abide.npy`: Fisher-transformed correlations with a zero diagonal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = np.nan_to_num(np.stack([np.corrcoef(values, rowvar=False) for values, _, _ in recorded]))
        z = np.arctanh(np.clip((plain + plain.swapaxes(1, 2)) / 2 * 0.97, -1, 1))
    z[:, np.arange(z.shape[1]), np.arange(z.shape[1])] = 0.0
    return {
        "timeseires": np.stack([values[:100].T for values, _, _ in recorded]),
        "label": np.array([group - 1 for _, group, _ in recorded]),
        "corr": z,
        "pcorr": z / 2,
        "site": np.array([site for _, _, site in recorded]),
    }
