"""Synthetic raw copy of COVID-BLUES: drawn lung ultrasound clips, the clinical table and the severity table.

Every frame is drawn and every row is made up; none comes from a patient. A sector shows a pleura line that slides
with breathing; patients without COVID have horizontal A-lines below it, those with COVID moving vertical B-lines.

Oddities of the release that it writes:

* `clinical_variables.csv`: the 127 columns of the publisher, rows not sorted by id, whole numbers as ints or floats,
  sentinels `-99`/`-99.0` (unknown) and `-96` (not applicable), one `90-92`, a height of `-99.0` with a blank BMI;
* `severity.csv`: another patient order, cells such as `yes ` with a trailing blank, quoted or blank comments;
* `variable_explanations.csv`: unquoted commas in the last field, a degree sign;
* second takes (`patient_3_R2_2.mp4`), clips of 7 and 8 frames, patients with different numbers of clips.

The split is the paper's: of the patient ids of the clinical table, sorted as integers, the first
`int(0.75 * patients)` are train.
"""

from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Expected, check_count, rng, to_uint8, write_csv, write_text
from climb_hf.optional import require

__all__ = ["make"]

_COLUMNS = (
    "patient_id,cov_test,number_video_files,pat_weight,pat_sex,pat_height,pat_bmi,pat_age,respiratory_rate,pulse,"
    "patient_symp#Wheezing,patient_symp#Vomitting,patient_symp#Sore_throat,patient_symp#Skin_rash,"
    "patient_symp#Running_nose,patient_symp#Other,patient_symp#Nausea,patient_symp#Muscle_pain,"
    "patient_symp#Lymphadenopathy,patient_symp#Joint_pain,patient_symp#Headache,patient_symp#Fever,"
    "patient_symp#Fatigue,patient_symp#Earache,patient_symp#Dyspnea,patient_symp#Diarrhea,"
    "patient_symp#Decreased_consciousness,patient_symp#Coughing,patient_symp#Confusion,patient_symp#Chest_pain,"
    "patient_symp#AnosmiaHyposmia,patient_symp#AgeusiaDysgeusia,patient_symp#Abdominal_pain,vent_dep#Yes,vent_dep#No,"
    "dx_his_smoke,smok_years,smok_packy_packd,oxygen_saturation_without_ox,oxygen_saturation_with_ox,oxygen_liter,"
    "oth_comorbidities#Stroke,oth_comorbidities#Renal_disease,oth_comorbidities#None_of_the_above,"
    "oth_comorbidities#Neurological_condition,oth_comorbidities#Malignancy,oth_comorbidities#Liver_disease,"
    "oth_comorbidities#Hypertonia,oth_comorbidities#History_of_drug_or_alcohol_abuse,"
    "oth_comorbidities#Diabetes_Mellitus,oth_comorbidities#Chronic_cardiovascular_disease,"
    "oth_comorbidities#Autoimmune_disease,oth_comorbidities#Adipositas_BMI_30,oth_comorbidities#AIDSHIV,"
    "hist_pulm_dis,emerg_case#Yes,emerg_case#No,curr_medis#no_medication,body_temperature,"
    "applying_pulm_dis#Tuberculosis,applying_pulm_dis#Pneumothorax,applying_pulm_dis#Pneumonia,"
    "applying_pulm_dis#Other,applying_pulm_dis#Interstitial_Lung_Disease,applying_pulm_dis#Dyspnea,"
    "applying_pulm_dis#Diffuse_Parenchymal_Lung_Disease,applying_pulm_dis#Cystic_fibrosis,applying_pulm_dis#COPD,"
    "applying_pulm_dis#Asthma_bronchiale,application_method#other,application_method#mask,ward_transfer_1,stay_mcu,"
    "stay_icu,stay_genward,oxygen_thepary_2,oxygen_thepary,oxygen_application_method_2#sonde_tube,"
    "oxygen_application_method_2#mask,oxygen_application_method_1#other,oxygen_application_method_1#mask,"
    "outcome_status_d7,outcome_status_d5,outcome_status_d30,outcome_status_d3,outcome_status_d1,outcome_status_d0,"
    "los_totaladmission,los_gw,los_ICU,duration_oxy,discharge_to,clin_diagn#healthy_lung,"
    "clin_diagn#bacterial_pneumonia,clin_diagn#COVID19_pneumonia,clin_diagn#other_viral_pneumonia,"
    "clin_diagn#other_lung_disease,Transfer_1_to,incl_crit#sore_throat,"
    "incl_crit#shortness_of_breath_or_difficulty_breathing,incl_crit#runny_nose,incl_crit#loss_of_taste,"
    "incl_crit#loss_of_smell,incl_crit#fever_or_chills,incl_crit#cough,incl_crit#congestion,dur_symp,"
    "test_meth_covid#PCR_rapid_test,test_meth_covid#PCR_normal,PCR_CT,sys_bp,dias_bp,trombocytes_find,pO2_find,"
    "pH_find,pCO2_find,leucocytes_find,hg_find,excess_find,Rh_factor,LDH_find,HCO3_find,CRP,lymphocytes,"
    "absolute_lymphocytes,C19_vacc,Blood_type"
)
_INTEGERS = (  # columns without `#` that hold plain ints
    "ward_transfer_1,stay_genward,oxygen_thepary,outcome_status_d5,outcome_status_d3,outcome_status_d1,"
    "outcome_status_d0,los_totaladmission,discharge_to"
)
_DECIMALS = {  # lowest, highest value of columns with one decimal or two
    "body_temperature": (35.8, 39.4, 1), "pO2_find": (5.8, 14.2, 1), "pH_find": (7.2, 7.6, 2),
    "pCO2_find": (3.1, 7.8, 1), "leucocytes_find": (2.1, 22.0, 1), "hg_find": (4.9, 10.4, 1),
    "excess_find": (-6.0, 8.0, 1), "HCO3_find": (16.0, 33.0, 1), "absolute_lymphocytes": (0.2, 3.4, 1),
    "LDH_find": (150.0, 480.0, 0), "trombocytes_find": (90.0, 420.0, 0), "sys_bp": (95.0, 175.0, 0),
    "dias_bp": (50.0, 105.0, 0), "CRP": (0.5, 180.0, 1), "lymphocytes": (3.0, 38.0, 0), "pulse": (55.0, 125.0, 0),
    "respiratory_rate": (12.0, 32.0, 0), "los_gw": (20.0, 400.0, 0), "smok_years": (5.0, 60.0, 0),
    "smok_packy_packd": (2.0, 60.0, 0), "oxygen_saturation_without_ox": (84.0, 99.0, 0), "oxygen_liter": (1, 15, 0),
}  # fmt: skip
_BLANKS = {
    "C19_vacc": 0.8, "Blood_type": 0.45, "los_ICU": 0.95, "Transfer_1_to": 0.85, "stay_mcu": 0.75, "stay_icu": 0.75,
    "smok_years": 0.5, "smok_packy_packd": 0.6, "oxygen_liter": 0.5, "pO2_find": 0.2, "pH_find": 0.2,
    "Rh_factor": 0.45, "lymphocytes": 0.1, "duration_oxy": 0.3, "los_gw": 0.25,
}  # fmt: skip
_POINTS = ("R1", "R2", "R3", "L1", "L2", "L3")
_SIZE = 350
_POLAR = 128  # rows (depth) and columns (angle) of the picture before scan conversion


def make(root: Path, n: int = 32, seed: int = 0) -> list[Expected]:
    """Write a synthetic COVID-BLUES folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of videos, at least 8; about four per patient, six in large
            copies.
        seed (`int`, *optional*, defaults to `0`): seed of tables and videos.

    Returns:
        `list[Expected]`: in the order of `severity.csv`; `values`: `age`, `sex`, `weight` (kg), `height` (cm or
        `None`), `bmi` (or `None`), `point`, `take`, `severity`, `a_lines`, `b_lines`, `num_frames`, `fps`.

    Raises:
        OptionError: `n` or `seed` out of range.
        DependencyError: PyAV is not installed.
    """
    check_count("covid_blues", n, seed)
    require("av", extra="video")
    random = rng(seed, "covid_blues", "plan")
    clips = _clips(n)
    patients = sorted({patient for patient, _, _ in clips})
    train = patients[: int(0.75 * len(patients))]
    positive = _positive(random, train) | _positive(random, [p for p in patients if p not in train])
    people = {p: _person(p, p in positive, sum(c[0] == p for c in clips), seed) for p in patients}
    rank = {int(p): i for i, p in enumerate(random.permutation(patients))}
    people[min(rank, key=lambda p: rank[p])]["oxygen_saturation_with_ox"] = "90-92"
    columns = _COLUMNS.split(",")
    table = [[people[int(p)][column] for column in columns] for p in random.permutation(patients)]
    write_csv(root / "clinical_variables.csv", [columns, *table])
    severity: list[list[object]] = [["video_file", "Severity Score", "A-lines", "B-lines", "comments"]]
    expected = []
    for number, (patient, point, take) in enumerate(sorted(clips, key=lambda c: (rank[c[0]], _POINTS.index(c[1])))):
        name = f"patient_{patient}_{point}" + (f"_{take}" if take > 1 else "")
        frames = (7, 8)[number - 2] if number in (2, 3) else 9 + (number * 5) % 7
        covid = patient in positive
        _write_video(root / "lus_videos" / f"{name}.mp4", covid, frames, rng(seed, "covid_blues", name))
        note = _note(number, covid, random)
        severity.append([name, *note])
        values = _values(people[patient]) | {"point": point, "take": take, "num_frames": frames, "fps": 25.0}
        values |= {"severity": float(note[0]), "a_lines": note[1].strip(), "b_lines": note[2].strip()}
        split = "train" if patient in train else "test"
        expected.append(Expected(name, split, str(patient), ("Has COVID" if covid else "No COVID",), values))
    write_csv(root / "severity.csv", severity)
    _write_texts(root)
    return expected


def _clips(n: int) -> list[tuple[int, str, int]]:
    """(patient, point, take) of every clip; ids are 1, 2, … without a gap."""
    patients = max(6, min(n // 4, 63), -(-n // 7))
    clips: list[tuple[int, str, int]] = []
    for patient in range(1, patients + 1):
        count = n // patients + ((patient - 3) % patients < n % patients)
        points = [_POINTS[(patient + i) % 6] for i in range(min(count, 6))]
        if patient == 3 and 2 <= count <= 6:
            points[-1] = points[0]  # a second take even where there are few clips
        points += _POINTS[: count - len(points)]
        clips += [(patient, point, 1 + points[:i].count(point)) for i, point in enumerate(points)]
    return clips


def _positive(random: np.random.Generator, patients: list[int]) -> set[int]:
    """Half of the patients, rounded up."""
    return {int(p) for p in random.permutation(patients)[: (len(patients) + 1) // 2]}


def _person(patient: int, covid: bool, videos: int, seed: int) -> dict[str, object]:
    """One row of the clinical table, cells as they are written."""
    random = rng(seed, "covid_blues", "person", patient)
    row: dict[str, object] = {}
    integers = set(_INTEGERS.split(","))
    for column in _COLUMNS.split(","):
        if random.random() < _BLANKS.get(column, 0.0):
            row[column] = None
        elif column in _DECIMALS:
            low, high, digits = _DECIMALS[column]
            row[column] = round(float(random.uniform(low, high)), digits)
        elif "#" in column or column in integers:
            row[column] = int(random.random() < 0.3)
        else:
            row[column] = float(random.integers(0, 4))
    weight, height = float(random.integers(50, 115)), float(random.integers(152, 195))
    row |= {
        "patient_id": patient,
        "cov_test": int(covid),
        "number_video_files": float(videos),
        "pat_weight": weight,
        "pat_sex": float(random.integers(2)),
        "pat_height": height,
        "pat_bmi": round(weight / (height / 100) ** 2, 2),
        "pat_age": float(random.integers(28, 98)),
        "vent_dep#No": 1 - int(str(row["vent_dep#Yes"])),
        "clin_diagn#COVID19_pneumonia": int(covid),
        "PCR_CT": (-99.0 if patient % 5 == 1 else float(random.integers(14, 36))) if covid else None,
        "oxygen_saturation_with_ox": ("-96", "-99", "-96", "97.5", "95", "92", "98")[patient % 7],
    }
    if patient == 2:
        row |= {"pat_height": -99.0, "pat_bmi": None}
    if patient % 6 == 3:
        row |= {"respiratory_rate": -99.0, "oxygen_saturation_without_ox": -99.0}
    return row


def _values(person: dict[str, object]) -> dict[str, object]:
    """What a reader must show of a patient."""
    return {
        "age": person["pat_age"],
        "sex": "male" if person["pat_sex"] == 1.0 else "female",
        "weight": person["pat_weight"],
        "height": None if person["pat_height"] == -99.0 else person["pat_height"],
        "bmi": person["pat_bmi"],
    }


def _note(number: int, covid: bool, random: np.random.Generator) -> tuple[str, str, str, str | None]:
    """Severity, A-lines, B-lines and comment of one clip, cells as they are written."""
    score = f"{min(3, max(0, int(random.integers(0, 3)) + covid))}.0"
    a_lines, b_lines = ("no", "yes") if covid else ("yes", "no")
    if number % 7 == 4:
        a_lines = b_lines = "yes"
    comments = ("synthetic clip, pleura line drawn", None, 'drawn "by hand", no patient', "synthetic", None)
    return score, a_lines, b_lines + (" " if number % 11 in (1, 6) else ""), comments[number % 5]


def _write_texts(root: Path) -> None:
    """Write the explanations, whose last field is not quoted, and the notices."""
    special = {
        "pat_sex": "Patient characteristics,,Sex (0=female, 1=male)",
        "dx_his_smoke": "Patient characteristics,,Smoking (0=never, 1=former, 2=current)",
        "body_temperature": "Patient characteristics,°C,Temperature of the body",
        "outcome_status_d7": "Outcome,,State on day 7 (0: ICU, 1: in hospital, 2: discharged, 3: dead)",
        "cov_test": "COVID-19 Test Results,,Result of the test (1=positive)",
    }
    lines = ["variable,variable_type,unit,explanation"]
    for column in _COLUMNS.split(","):
        words = column.replace("#", ": ").replace("_", " ")
        kind = "Patient characteristics,binary" if "#" in column else "Patient characteristics,"
        lines.append(f"{column},{special.get(column, f'{kind},{words}')}")
    write_text(root / "variable_explanations.csv", "".join(f"{line}\n" for line in lines))
    notice = "Synthetic data in the format of COVID-BLUES. No patient is behind any of it.\n"
    write_text(root / "README.md", notice)
    write_text(root / "LICENSE", notice)


def _write_video(path: Path, covid: bool, frames: int, random: np.random.Generator) -> None:
    """Write one clip: H.264, 350 x 350, 25 fps, one video track."""
    av = require("av", extra="video")
    path.parent.mkdir(parents=True, exist_ok=True)
    sector = _sector()
    planes = np.full((_SIZE * 3 // 2, _SIZE), 128, np.uint8)  # luma above the two quarter-size chroma planes
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = _SIZE
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, 25)
        stream.codec_context.thread_count = 1  # more threads would cut slices by the machine's cores
        stream.codec_context.options = {"preset": "ultrafast", "crf": "26"}
        for polar in _polar_frames(covid, frames, random):
            grey = np.append(to_uint8(polar * 219 / 255 + 16 / 255), np.uint8(16))[sector]  # luma is 16 to 235
            planes[:_SIZE] = np.minimum(grey, 235)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode())


@cache
def _sector() -> NDArray[np.int32]:
    """Where each pixel lies in the flattened polar picture; one past its end outside the sector."""
    y, x = np.mgrid[0:_SIZE, 0:_SIZE].astype(float)
    dy, dx = y + 60.0, x - (_SIZE - 1) / 2
    depth = (np.hypot(dy, dx) - 75.0) / 310.0 * _POLAR
    angle = (np.arctan2(dx, dy) / 1.05 + 0.5) * _POLAR
    inside = (depth >= 0) & (depth < _POLAR) & (angle >= 0) & (angle < _POLAR)
    return np.where(inside, np.floor(depth) * _POLAR + np.floor(angle), _POLAR * _POLAR).astype(np.int32)


def _polar_frames(covid: bool, frames: int, random: np.random.Generator) -> list[NDArray[np.float64]]:
    """Frames as (depth, angle) pictures, 0 to 1, with moving content."""
    depth, angle = np.linspace(0, 1, _POLAR)[:, None], np.linspace(0, 1, _POLAR)[None, :]
    pleura, gain, phase = random.uniform(0.2, 0.28), random.uniform(0.85, 1.15), random.uniform(0, 6)
    texture = random.rayleigh(0.09, (_POLAR, _POLAR)) * np.exp(-1.5 * depth)
    streaks = (np.arange(3) + random.uniform(0.2, 0.8, 3)) / 3.0
    pictures = []
    for t in range(frames):
        breath = 0.04 * np.sin(phase + t / 4.0)
        picture = np.roll(texture, round(40 * breath), axis=1)
        line = pleura + 0.01 * np.sin(6 * (angle + breath))
        picture = picture + 0.75 * np.exp(-(((depth - line) / 0.014) ** 2))
        if covid:
            for at in streaks:
                streak = np.exp(-(((angle - at - breath) / 0.035) ** 2))
                picture = picture + 0.6 * streak * (depth > line) * np.exp(-0.4 * depth)
        else:
            for k in (2, 3, 4):
                picture = picture + 0.55 * 0.85**k * np.exp(-(((depth - k * line) / 0.018) ** 2))
        pictures.append(gain * picture)
    return pictures
