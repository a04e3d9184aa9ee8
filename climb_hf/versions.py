"""Which release of a source a folder holds: files and folders that tell the releases and look-alikes apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RELEASES", "Release", "recognise"]

_DEPTH = ("", "*/", "*/*/")


@dataclass(frozen=True)
class Release:
    """A release of a source, or another data set that is taken for it.

    Args:
        title (`str`): what it is.
        marks (`tuple[str, ...]`): glob patterns of its root, one of which is there.
        lacks (`tuple[str, ...]`, *optional*): patterns that are not.
        advice (`str`, *optional*): for a release we do not read, what to get instead; `""` for one we read.
    """

    title: str
    marks: tuple[str, ...]
    lacks: tuple[str, ...] = ()
    advice: str = ""

    @property
    def is_right(self) -> bool:
        """Whether we read it."""
        return not self.advice


#: By source, what tells more first.
RELEASES: Mapping[str, tuple[Release, ...]] = {
    "abide": (
        Release("BrainGB's `abide.npy`", ("abide.npy", "ABIDE.npy")),
        Release("PCP time series (`.1D`)", ("Phenotypic_V1_0b_preprocessed1.csv",)),
    ),
    "aptos2019": (
        Release("the competition's archive", ("train.csv",), ("train_1.csv",)),
        Release(
            "a re-upload of APTOS 2019 with renamed tables", ("train_1.csv",),
            advice="Get the competition's own archive; the tables and folders of re-uploads differ.",
        ),
    ),
    "bach": (
        Release("BACH part A", ("Photos/Normal", "Photos/Benign", "Photos/InSitu", "Photos/Invasive")),
        Release(
            "the challenge's unlabelled test photos", ("Photos/test*.tif",),
            advice="Get `ICIAR2018_BACH_Challenge.zip`, whose photos have classes.",
        ),
    ),
    "bcss": (
        Release("the publisher's regions, colour-normalised", ("rgbs_colorNormalized",)),
        Release("the publisher's regions, by its script", ("images",)),
        Release(
            "tiles made from BCSS (Kaggle, BCSS-WSSS)", ("train_512", "train_mask_512", "BCSS_512"),
            advice="Get the regions from the publisher's Google Drive folder.",
        ),
    ),
    "brain_tumor": (
        Release("Bhuvaji et al. 2020", ("Training/glioma_tumor", "Testing/glioma_tumor")),
        Release(
            "the later set of 7,023 images by another author", ("Training/notumor", "Testing/notumor"),
            advice="Get `sartajbhuvaji/brain-tumor-classification-mri`; that other set is no version of it.",
        ),
    ),
    "cbis_ddsm": (
        Release("TCIA DICOM", ("CBIS-DDSM", "manifest-*")),
        Release("the Kaggle JPEG copy (8 bits)", ("jpeg",)),
    ),
    "chapman_shaoxing": (
        Release("PhysioNet ecg-arrhythmia 1.0.0 (with Ningbo)", ("WFDBRecords",)),
        Release("PhysioNet Challenge 2021", ("training/chapman_shaoxing",)),
        Release("the Kaggle copy of the Challenge files", ("WFDB_ChapmanShaoxing",)),
        Release(
            "the older figshare release (CSV files)", ("ECGDataDenoised*", "Diagnostics.xlsx"),
            advice="Get PhysioNet ecg-arrhythmia 1.0.0; the figshare release has other records and labels.",
        ),
    ),
    "chexpert": (
        Release("CheXpert Plus tables", ("df_chexpert_plus*.csv",)),
        Release("CheXpert v1.0, full resolution", ("CheXpert-v1.0 batch *",)),
        Release("CheXpert v1.0", ("train.csv",)),
    ),
    "cpsc": (
        Release("PhysioNet Challenge 2021", ("training/cpsc_2018",)),
        Release("the Kaggle copy of the Challenge files", ("Training_WFDB",)),
        Release("the original of 2018", ("REFERENCE.csv",)),
    ),
    "georgia": (
        Release("PhysioNet Challenge 2021", ("training/georgia",)),
        Release("the Kaggle copy of the Challenge files", ("WFDB",)),
    ),
    "ham10000": (
        Release("ISIC 2018 Task 3 (no age, sex, site)", ("ISIC2018_Task3_Training_GroundTruth*",), ("HAM10000_met*",)),
        Release("Harvard Dataverse or Kaggle", ("HAM10000_metadata*",)),
    ),
    "hemorrhage": (
        Release("PhysioNet ct-ich 1.0.0 (JPEG slices)", ("Patients_CT",)),
        Release(
            "PhysioNet ct-ich 1.2.0 or later (NIfTI volumes of 75 patients)",
            ("ct_scans", "hemorrhage_diagnosis_raw_ct.csv"),
            advice="Get version 1.0.0; the later ones are another product with other patients.",
        ),
    ),
    "hugadb": (
        Release("HuGaDB v2", ("HuGaDB_v2_*",)),
        Release("HuGaDB v1", ("HuGaDB_v1_*", "HGD_v1_*")),
    ),
    "inspect": (
        Release("Redivis release", ("labels_*.tsv", "labels.tsv")),
        Release("older release", ("Final_Impressions_labels.csv",)),
    ),
    "isic2020": (
        Release("ISIC archive, tables v2", ("ISIC_2020_Training_GroundTruth_v2.csv",)),
        Release("ISIC archive, tables v1", ("ISIC_2020_Training_GroundTruth.csv",)),
        Release("the Kaggle copy", ("train.csv",)),
    ),
    "kits23": (
        Release("KiTS23", ("kits23.json",)),
        Release(
            "KiTS19 or KiTS21", ("kits.json", "kits21"),
            advice="Get KiTS23: earlier years have fewer cases and other masks.",
        ),
    ),
    "messidor2": (
        Release("Messidor-2", ("messidor_data.csv", "messidor-2.csv")),
        Release(
            "Messidor (the first)", ("Base1*", "Annotation_Base*"),
            advice="Get Messidor-2 from ADCIS; the first Messidor has other images and grades.",
        ),
    ),
    "mimic_cxr": (
        Release("MIMIC-CXR-JPG 2.x", ("mimic-cxr-2.*-split.csv*",)),
        Release(
            "MIMIC-CXR (DICOM files and reports), not MIMIC-CXR-JPG",
            ("cxr-record-list.csv*", "cxr-study-list.csv*", "mimic-cxr-reports*", "files/p1*/p*/s*.txt",
             "files/p1*/p*/s*/*.dcm"),
            advice="Get MIMIC-CXR-JPG 2.1.0; of MIMIC-CXR only `mimic-cxr-reports.zip` is used, beside its tables.",
        ),
        Release(
            "MIMIC-IV, not MIMIC-CXR-JPG", ("hosp/admissions.csv*", "icu/icustays.csv*"),
            advice="Get MIMIC-CXR-JPG 2.1.0; MIMIC-IV is another project.",
        ),
    ),
    "nct_crc_he": (
        Release("the publisher's class folders", ("NCT-CRC-HE-100K*", "CRC-VAL-HE-7K", "ADI/ADI-*.tif")),
        Release(
            "PathMNIST, which was made from these patches", ("pathmnist*.npz",),
            advice="Get the two archives of Zenodo 1214456, or load PathMNIST as what it is.",
        ),
    ),
    "pcam": (
        Release("PCam of Zenodo 2546921", ("camelyonpatch_level_2_split_*_y.h5*",)),
        Release(
            "Kaggle's histopathologic-cancer-detection", ("train_labels.csv",),
            advice="Get PCam of Zenodo 2546921: Kaggle's copy has other splits, and no labels for testing.",
        ),
    ),
    "ptbxl": (
        Release("PTB-XL 1.0.x of PhysioNet", ("ptbxl_database.csv",)),
        Release("PTB-XL of the Challenge 2021 (`.mat`)", ("HR00*.hea", "g1/HR00*.hea", "training/ptb-xl")),
    ),
    "ptbxl_finegrained": (Release("PTB-XL 1.0.x of PhysioNet", ("ptbxl_database.csv",)),),
    "rspect": (
        Release("256 × 256 JPEG derivative", ("train-jpegs",)),
        Release("the competition's DICOM files", ("train.csv", "train.csv.gz")),
    ),
    "vindr_cxr": (
        Release("PhysioNet vindr-cxr 1.0.0", ("annotations",)),
        Release(
            "the Kaggle competition vinbigdata-chest-xray", ("train.csv", "sample_submission.csv"), ("annotations",),
            advice="Get vindr-cxr 1.0.0 from PhysioNet: the Kaggle copy has no global labels and no test labels.",
        ),
    ),
}  # fmt: skip


def recognise(name: str, folder: Path) -> Release | None:
    """Tell which release of a source a folder holds, at its top or up to two levels below.

    Args:
        name (`str`): the source.
        folder (`Path`): an existing folder.

    Returns:
        `Release`, *optional*: releases we read are looked for first; `None` where nothing fits.
    """
    releases = sorted(RELEASES.get(name, ()), key=lambda release: not release.is_right)
    for depth in _DEPTH:
        for release in releases:
            if _any(folder, depth, release.marks) and not _any(folder, depth, release.lacks):
                return release
    return None


def _any(folder: Path, depth: str, patterns: tuple[str, ...]) -> bool:
    try:
        return any(next(folder.glob(depth + pattern), None) is not None for pattern in patterns)
    except OSError:  # a folder of somebody else
        return False
