"""The SCP-ECG statements of PTB-XL as code tables: flags and subclass, the seven classes, SNOMED CT, axis.

The class of a statement or axis is BenchMD's rule (rajpurkarlab/BenchMD, `generate_labels.py`) with Table 7's strings.
Descriptions are worded here; of the columns with foreign codes only the row `NORM` is filled.
"""

from collections.abc import Iterable

from climb_hf.miniatures._common import csv_text

__all__ = [
    "BENCHMD_ORDER",
    "CLASSES",
    "SUBCLASSES",
    "classes_of",
    "snomed_of",
    "statements_csv",
    "subclass_codes",
    "subclasses_of",
]

CLASSES = {  # BenchMD's short name -> Table 7, in the order of Table 7
    "normal": "Normal",
    "cd": "Conduction Delay (CD)",
    "hyp": "Hypertrophy (HYP)",
    "mi": "Myocardial Infarction (MI)",
    "sttc": "Sinus Tachycardia/Bradycardia/Conduction (STTC)",
    "afib": "Atrial Fibrillation/Atrial Flutter (A. Fib/Aflutter)",
    "other": "Other",
}
BENCHMD_ORDER = ("normal", "cd", "mi", "sttc", "other", "afib", "hyp")

_OF_CLASS = {
    "normal": "NORM SR STACH SARRH SBRAD",
    "cd": "LAFB LPFB IRBBB CRBBB ILBBB CLBBB IVCD 1AVB 2AVB 3AVB WPW LPR SVARR SVTAC PSVT",
    "hyp": "LVH RVH SEHYP VCLVH LAO/LAE RAO/RAE LAD ALAD RAD ARAD",
    "mi": "AMI ASMI ALMI IMI ILMI IPMI IPLMI LMI PMI INJAS INJAL INJLA INJIN INJIL INVT",
    "sttc": "NDT NST_ DIG LNGQT EL ANEUR ISC_ ISCAL ISCAN ISCAS ISCIL ISCIN ISCLA STD_ STE_ TAB_ NT_ LOWT",
    "afib": "AFIB AFLT",
    "other": "ABQRS PVC PAC PRC(S) BIGU TRIGU QWAVE LVOLT HVOLT PACE AXL AXR SAG",
}
_CLASS = {code: name for name, codes in _OF_CLASS.items() for code in codes.split()}

SUBCLASSES = {  # `diagnostic_subclass` -> string of Table 9 (`LVH` is missing there), in the order of Table 9
    "NORM": "Normal ECG (NORM)",
    "ISCI": "Ischemic in inferior leads (ISCI)",
    "NST_": "Non-specific ST changes (NST_)",
    "ISCA": "Ischemic in anterior leads (ISCA)",
    "ISC_": "Non-specific ischemic (ISC_)",
    "STTC": "ST-T changes (STTC)",
    "RVH": "Right ventricular hypertrophy (RVH)",
    "RAO/RAE": "Right atrial overload/enlargement (RAO/RAE)",
    "SEHYP": "Septal hypertrophy (SEHYP)",
    "LAO/LAE": "Left atrial overload/enlargement (LAO/LAE)",
    "AMI": "Anterior myocardial infarction (AMI)",
    "IMI": "Inferior myocardial infarction (IMI)",
    "LMI": "Lateral myocardial infarction (LMI)",
    "PMI": "Posterior myocardial infarction (PMI)",
    "LAFB/LPFB": "Left anterior/left posterior fascicular block (LAFB/LPFB)",
    "IRBBB": "Incomplete right bundle branch block (IRBBB)",
    "_AVB": "AV block (_AVB)",
    "IVCD": "Non-specific intraventricular conduction disturbance (IVCD)",
    "CRBBB": "Complete right bundle branch block (CRBBB)",
    "CLBBB": "Complete left bundle branch block (CLBBB)",
    "WPW": "Wolff-Parkinson-White syndrome (WPW)",
    "ILBBB": "Incomplete left bundle branch block (ILBBB)",
    "LVH": "Left ventricular hypertrophy (LVH)",
}

# code: flags (d = diagnostic, f = form, r = rhythm), superclass, subclass, description; order of the publisher
_STATEMENTS = """\
NDT df STTC STTC T change without diagnostic weight
NST_ df STTC NST_ ST change, non-specific
DIG df STTC STTC digitalis effect
LNGQT df STTC STTC QT interval prolonged
NORM d NORM NORM normal ECG
IMI d MI IMI infarction, inferior
ASMI d MI AMI infarction, anteroseptal
LVH d HYP LVH hypertrophy of the left ventricle
LAFB d CD LAFB/LPFB fascicular block, left anterior
ISC_ d STTC ISC_ ischemia, non-specific
IRBBB d CD IRBBB right bundle branch block, incomplete
1AVB d CD _AVB AV block, first degree
IVCD d CD IVCD intraventricular conduction disturbed, non-specific (block)
ISCAL d STTC ISCA ischemia, anterolateral leads
CRBBB d CD CRBBB right bundle branch block, complete
CLBBB d CD CLBBB left bundle branch block, complete
ILMI d MI IMI infarction, inferolateral
LAO/LAE d HYP LAO/LAE left atrium overloaded or enlarged
AMI d MI AMI infarction, anterior
ALMI d MI AMI infarction, anterolateral
ISCIN d STTC ISCI ischemia, inferior leads
INJAS d MI AMI injury, anteroseptal leads
LMI d MI LMI infarction, lateral
ISCIL d STTC ISCI ischemia, inferolateral leads
LPFB d CD LAFB/LPFB fascicular block, left posterior
ISCAS d STTC ISCA ischemia, anteroseptal leads
INJAL d MI AMI injury, anterolateral leads
ISCLA d STTC ISCA ischemia, lateral leads
RVH d HYP RVH hypertrophy of the right ventricle
ANEUR d STTC STTC ST-T change as with an aneurysm
RAO/RAE d HYP RAO/RAE right atrium overloaded or enlarged
EL d STTC STTC electrolytes or drug (former EDIS)
WPW d CD WPW Wolff-Parkinson-White syndrome
ILBBB d CD ILBBB left bundle branch block, incomplete
IPLMI d MI IMI infarction, inferoposterolateral
ISCAN d STTC ISCA ischemia, anterior leads
IPMI d MI IMI infarction, inferoposterior
SEHYP d HYP SEHYP hypertrophy of the septum
INJIN d MI IMI injury, inferior leads
INJLA d MI AMI injury, lateral leads
PMI d MI PMI infarction, posterior
3AVB d CD _AVB AV block, third degree
INJIL d MI IMI injury, inferolateral leads
2AVB d CD _AVB AV block, second degree
ABQRS f - - QRS abnormal
PVC f - - premature complex, ventricular
STD_ f - - ST depression, non-specific
VCLVH f - - voltage criteria of a hypertrophic left ventricle
QWAVE f - - Q waves
LOWT f - - T waves of low amplitude
NT_ f - - T wave change, non-specific
PAC f - - premature complex, atrial
LPR f - - PR interval prolonged
INVT f - - T waves inverted
LVOLT f - - QRS voltage low, frontal and horizontal leads
HVOLT f - - QRS voltage high
TAB_ f - - T wave abnormal
STE_ f - - ST elevation, non-specific
PRC(S) f - - premature complex(es)
SR r - - sinus rhythm
AFIB r - - atrial fibrillation
STACH r - - sinus tachycardia
SARRH r - - sinus arrhythmia
SBRAD r - - sinus bradycardia
PACE r - - pacemaker, functioning normally
SVARR r - - supraventricular arrhythmia
BIGU r - - bigeminy (origin unknown, SV or ventricular)
AFLT r - - atrial flutter
SVTAC r - - supraventricular tachycardia
PSVT r - - supraventricular tachycardia, paroxysmal
TRIGU r - - trigeminy (origin unknown, SV or ventricular)
"""
_ROWS = [line.split(" ", 4) for line in _STATEMENTS.splitlines()]
_SUBCLASS = {code: subclass for code, flags, _, subclass, _ in _ROWS if "d" in flags}

_SNOMED = {  # per code where the Challenge keeps it apart; else the class's general code below
    "SARRH": 427393009, "SBRAD": 426177001, "STACH": 427084000, "1AVB": 270492004, "2AVB": 195042002,
    "3AVB": 27885002, "CLBBB": 164909002, "CRBBB": 713427006, "ILBBB": 251120003, "IRBBB": 713426002,
    "LAFB": 445118002, "LPFB": 445211001, "LPR": 164947007, "PSVT": 67198005, "SVARR": 63593006,
    "SVTAC": 426761007, "WPW": 74390002, "LAD": 39732003, "ALAD": 39732003, "RAD": 47665007, "ARAD": 47665007,
    "LAO/LAE": 67741000119109, "LVH": 164873001, "VCLVH": 164873001, "RAO/RAE": 446358003, "RVH": 89792004,
    "AMI": 54329005, "ASMI": 54329005, "INVT": 59931005, "NDT": 428750005, "NST_": 428750005, "ISC_": 164861001,
    "ISCAN": 426434006, "ISCAS": 426434006, "ISCAL": 426434006, "ISCIN": 425419005, "ISCIL": 425419005,
    "ISCLA": 425623009, "LNGQT": 111975006, "TAB_": 164934002, "NT_": 164934002, "STD_": 429622005,
    "STE_": 164931005, "AFLT": 164890007, "AXL": 251200008, "AXR": 251200008, "SAG": 251200008, "BIGU": 11157007,
    "TRIGU": 251180001, "LVOLT": 251146004, "PAC": 284470004, "PACE": 10370003, "PVC": 164884008,
    "QWAVE": 164917005,
}  # fmt: skip
_SNOMED_GENERAL = {
    "normal": 426783006,
    "cd": 698252002,
    "hyp": 266249003,
    "mi": 164865005,
    "sttc": 55930002,
    "afib": 164889003,
    "other": 164951009,
}


def classes_of(codes: Iterable[str], axis: str | None) -> tuple[str, ...]:
    """BenchMD's short class names of a record.

    Args:
        codes: keys of `scp_codes`, whatever their likelihood.
        axis (`str`, *optional*): value of `heart_axis`; `MID` and blank add nothing.

    Returns:
        `tuple[str, ...]`: keys of `CLASSES`, in its order.
    """
    found = {_CLASS[code] for code in codes} | ({_CLASS[axis]} if axis in _CLASS else set())
    return tuple(name for name in CLASSES if name in found)


def subclasses_of(codes: Iterable[str]) -> tuple[str, ...]:
    """Diagnostic subclasses of a record, likelihoods ignored.

    Args:
        codes: keys of `scp_codes`.

    Returns:
        `tuple[str, ...]`: keys of `SUBCLASSES`, in its order; empty where no code is a diagnosis.
    """
    found = {_SUBCLASS[code] for code in codes if code in _SUBCLASS}
    return tuple(name for name in SUBCLASSES if name in found)


def subclass_codes(subclass: str) -> list[str]:
    """Diagnostic statements that belong to a subclass.

    Args:
        subclass (`str`): key of `SUBCLASSES`.

    Returns:
        `list[str]`: SCP codes in the order of the table.
    """
    return [code for code, name in _SUBCLASS.items() if name == subclass]


def snomed_of(codes: Iterable[str], axis: str | None) -> list[str]:
    """SNOMED CT codes of a Challenge header that stand for the same classes.

    Args:
        codes: keys of `scp_codes`.
        axis (`str`, *optional*): value of `heart_axis`.

    Returns:
        `list[str]`: distinct codes in text order, as the headers list them.
    """
    terms = [*codes, *([axis] if axis in _CLASS else [])]
    return sorted({str(_SNOMED.get(term, _SNOMED_GENERAL[_CLASS[term]])) for term in terms})


def statements_csv() -> str:
    """Text of `scp_statements.csv`: 71 rows, 13 columns, the first header cell empty.

    Returns:
        `str`: the file's content.
    """
    header = ["", "description", "diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"]
    header += ["Statement Category", "SCP-ECG Statement Description"]
    header += ["AHA code", "aECG REFID", "CDISC Code", "DICOM Code"]
    rows = [header]
    for code, flags, superclass, subclass, text in _ROWS:
        ticks = ["1.0" if flag in flags else "" for flag in "dfr"]
        classes = ["", ""] if superclass == "-" else [superclass, subclass]
        foreign = ["Normal/abnormal", text, "1", "", "", "F-000B7"] if code == "NORM" else ["", text, "", "", "", ""]
        rows.append([code, text, *ticks, *classes, *foreign])
    return csv_text(rows)
