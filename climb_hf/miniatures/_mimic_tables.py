"""Headers, folders and item dictionaries of the MIMIC-IV projects, for the synthetic copy."""

from datetime import datetime
from typing import Any

__all__ = ["FOLDERS", "HEADERS", "LAB_ITEMS", "PLAIN", "VITAL_ITEMS", "Rows", "stamp"]

Rows = dict[str, list[list[Any]]]

#: Folder of each project by layout.
FOLDERS = {
    "physionet": {
        "hosp": "mimiciv/3.1",
        "icu": "mimiciv/3.1",
        "mimic-iv-ecg": "mimic-iv-ecg/1.0",
        "mimic-cxr-jpg": "mimic-cxr-jpg/2.1.0",
        "mimic-iv-note": "mimic-iv-note/2.2/note",
    },
    "climb": {
        "hosp": "multimodal/mimiciv",
        "icu": "multimodal/mimiciv",
        "mimic-iv-ecg": "ecg/mimiciv",
        "mimic-cxr-jpg": "chest_xray/mimic-cxr",
        "mimic-iv-note": "mimic-iv-note/note",
    },
    "plain": {
        "hosp": "mimiciv",
        "icu": "mimiciv",
        "mimic-iv-ecg": "mimic-iv-ecg",
        "mimic-cxr-jpg": "mimic-cxr-jpg",
        "mimic-iv-note": "mimic-iv-note/note",
    },
}

#: Column names by project and table, in the order of MIMIC-IV 3.1 and its sister projects.
HEADERS = {
    "hosp/patients": "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
    "hosp/admissions": "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admit_provider_id,"
    "admission_location,discharge_location,insurance,language,marital_status,race,edregtime,edouttime,"
    "hospital_expire_flag",
    "hosp/diagnoses_icd": "subject_id,hadm_id,seq_num,icd_code,icd_version",
    "hosp/procedures_icd": "subject_id,hadm_id,seq_num,chartdate,icd_code,icd_version",
    "hosp/d_icd_diagnoses": "icd_code,icd_version,long_title",
    "hosp/d_icd_procedures": "icd_code,icd_version,long_title",
    "hosp/labevents": "labevent_id,subject_id,hadm_id,specimen_id,itemid,order_provider_id,charttime,storetime,value,"
    "valuenum,valueuom,ref_range_lower,ref_range_upper,flag,priority,comments",
    "hosp/d_labitems": "itemid,label,fluid,category",
    "hosp/prescriptions": "subject_id,hadm_id,pharmacy_id,poe_id,poe_seq,order_provider_id,starttime,stoptime,"
    "drug_type,drug,formulary_drug_cd,gsn,ndc,prod_strength,form_rx,dose_val_rx,dose_unit_rx,form_val_disp,"
    "form_unit_disp,doses_per_24_hrs,route",
    "icu/icustays": "subject_id,hadm_id,stay_id,first_careunit,last_careunit,intime,outtime,los",
    "icu/chartevents": "subject_id,hadm_id,stay_id,caregiver_id,charttime,storetime,itemid,value,valuenum,valueuom,"
    "warning",
    "icu/d_items": "itemid,label,abbreviation,linksto,category,unitname,param_type,lownormalvalue,highnormalvalue",
    "mimic-iv-ecg/record_list": "subject_id,study_id,file_name,ecg_time,path",
    "mimic-iv-ecg/machine_measurements": "subject_id,study_id,cart_id,ecg_time,"
    + ",".join(f"report_{i}" for i in range(18))
    + ",bandwidth,filtering,rr_interval,p_onset,p_end,qrs_onset,qrs_end,t_end,p_axis,qrs_axis,t_axis",
    "mimic-cxr-jpg/mimic-cxr-2.0.0-metadata": "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,"
    "ViewPosition,Rows,Columns,StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
    "PatientOrientationCodeSequence_CodeMeaning",
    "mimic-cxr-jpg/mimic-cxr-2.0.0-split": "dicom_id,study_id,subject_id,split",
    "mimic-cxr-jpg/mimic-cxr-2.0.0-chexpert": "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,"
    "Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,"
    "Pneumothorax,Support Devices",
    "mimic-iv-note/discharge": "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text",
    "mimic-iv-note/radiology": "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text",
}
#: Tables that are never compressed.
PLAIN = ("mimic-iv-ecg/record_list", "mimic-iv-ecg/machine_measurements")

LAB_ITEMS = {
    50813: ("Lactate", "Blood", "Blood Gas"),
    50912: ("Creatinine", "Blood", "Chemistry"),
    50983: ("Sodium", "Blood", "Chemistry"),
    51222: ("Hemoglobin", "Blood", "Hematology"),
    51491: ("pH", "Urine", "Hematology"),  # none of the core items
}
VITAL_ITEMS = {
    220045: ("Heart Rate", "HR", "Routine Vital Signs", "bpm"),
    220181: ("Non Invasive Blood Pressure mean", "NBPm", "Routine Vital Signs", "mmHg"),
    223761: ("Temperature Fahrenheit", "Temperature F", "Routine Vital Signs", "°F"),
    223900: ("GCS - Verbal Response", "Verbal Response", "Neurological", None),
    224650: ("Ectopy Type 1", "Ectopy Type 1", "Routine Vital Signs", None),  # none of the core items
}


def stamp(moment: datetime | None) -> str | None:
    """Write a time as the tables do; an empty cell for none.

    Args:
        moment (`datetime`, *optional*): a shifted time.

    Returns:
        `str`, *optional*: `YYYY-MM-DD HH:MM:SS`.
    """
    return None if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")
