"""A MIMIC-IV written by hand, row by row: one adult with an admission, and whatever a test adds."""

import csv
import gzip
import io
from datetime import datetime, timedelta

from climb_hf.miniatures._mimic_tables import FOLDERS, HEADERS, PLAIN

SUBJECT, HADM, STAY = 10000001, 20000001, 30000001
ADMIT = datetime(2150, 3, 1, 10)


def at(hours=0.0, seconds=0):
    """Return the text of a moment after admission."""
    return (ADMIT + timedelta(hours=hours, seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")


class World:
    """Tables of `climb_hf.miniatures`' layout, filled by keyword; columns not named stay empty."""

    def __init__(self):
        self.rows = {name: [] for name in HEADERS}
        self.number = 0
        self.add("hosp/patients", subject_id=SUBJECT, gender="F", anchor_age=60, anchor_year=2149)

    def add(self, table, **cells):
        header = HEADERS[table].split(",")
        assert set(cells) <= set(header), set(cells) - set(header)
        self.rows[table].append([cells.get(name, "") for name in header])
        return self

    def admission(self, hadm=HADM, admit=0.0, disch=240.0, death=None, subject=SUBJECT, coded=True, **cells):
        self.add(
            "hosp/admissions", subject_id=subject, hadm_id=hadm, admittime=at(admit) if admit is not None else "",
            dischtime=at(disch) if disch is not None else "", deathtime=at(death) if death is not None else "",
            hospital_expire_flag=int(death is not None), admission_type="URGENT", **cells,
        )  # fmt: skip
        if coded:
            self.add("hosp/diagnoses_icd", subject_id=subject, hadm_id=hadm, seq_num=1, icd_code="0030", icd_version=9)
        return self

    def stay(self, stay=STAY, hadm=HADM, begin=1.0, end=100.0, units=("MICU", "MICU"), subject=SUBJECT):
        return self.add(
            "icu/icustays", subject_id=subject, hadm_id=hadm, stay_id=stay, first_careunit=units[0],
            last_careunit=units[1], intime=at(begin), outtime=at(end),
        )  # fmt: skip

    def lab(self, drawn, stored=None, value="1.0", hadm=HADM, item=50912, subject=SUBJECT, **cells):
        self.number += 1
        return self.add(
            "hosp/labevents", labevent_id=self.number, subject_id=subject, hadm_id=hadm, specimen_id=12345678,
            itemid=item, charttime=drawn, storetime=drawn if stored is None else stored, value=value,
            valuenum=value if value.replace(".", "").isdigit() else "", valueuom="mg/dL", **cells,
        )  # fmt: skip

    def vital(self, charted, stored=None, value="80", item=220045, stay=STAY, hadm=HADM, **cells):
        return self.add(
            "icu/chartevents", subject_id=SUBJECT, hadm_id=hadm, stay_id=stay, charttime=charted,
            storetime=charted if stored is None else stored, itemid=item, value=value, valueuom="bpm",
            valuenum=value if value.isdigit() else "", warning=0, **cells,
        )  # fmt: skip

    def ecg(self, study, time, subject=SUBJECT):
        path = f"files/p{str(subject)[:4]}/p{subject}/s{study}/{study}"
        return self.add(
            "mimic-iv-ecg/record_list", subject_id=subject, study_id=study, file_name=study, ecg_time=time, path=path
        )

    def film(self, dicom, time, view="AP", study=50000001, subject=SUBJECT):
        day, clock = time.split(" ")
        return self.add(
            "mimic-cxr-jpg/mimic-cxr-2.0.0-metadata", dicom_id=dicom, subject_id=subject, study_id=study,
            ViewPosition=view, StudyDate=day.replace("-", ""), StudyTime=float(clock.replace(":", "")),
        )  # fmt: skip

    def note(self, kind, note, charted, stored, text, hadm=HADM):
        return self.add(
            f"mimic-iv-note/{kind}", note_id=note, subject_id=SUBJECT, hadm_id=hadm, charttime=charted,
            storetime=stored, text=text,
        )  # fmt: skip

    def write(self, root, without=()):
        """Write the tables that are not in `without` (prefixes of their names)."""
        for name, rows in self.rows.items():
            module, table = name.split("/", 1)
            if name.startswith(tuple(without)):
                continue
            path = root / FOLDERS["physionet"][module] / f"{name if module in ('hosp', 'icu') else table}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([HEADERS[name].split(","), *rows])
            content = text.getvalue().encode()
            if name in PLAIN:
                path.write_bytes(content)
            else:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content))
        return root
