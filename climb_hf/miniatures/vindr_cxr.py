"""Synthetic raw copy of VinDr-CXR: drawn chest films as DICOM, three readers per training film, boxes.

Every film is drawn and every vote is made up; none comes from a patient. Lung tumor is one bright mass, Pneumonia a
patch over a lower lung, Tuberculosis small dots in both upper lungs, COPD long dark lungs with a narrow heart, Other
diseases a large heart; No finding has none of these.

Oddities of the release that it writes:

* three rows per training film (`rad_id` R1 to R17) that disagree: at least two votes of a class make the label, one
  vote makes it `uncertain`; one film where no class has a majority (from n = 32 on); votes as `1` in one file and as
  `1.0` in the other, a few empty cells for 0;
* the test table has no `rad_id` and says `Other disease`;
* tables in another order than the files, box rows with empty corners for `No finding`;
* DICOM without Modality, PatientID or UIDs in the data set, MediaStorageSOPInstanceUID = image id, 12 of 16 bits
  stored, MONOCHROME1 and MONOCHROME2, windows that are absent, single or double, rescale tags present or absent, age
  `043Y`, empty or absent, one JPEG 2000 and one RLE file among uncompressed ones;
* `index.html` files, as a recursive download leaves them.
"""

import hashlib
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import (
    Expected,
    Floats,
    check_count,
    ellipse,
    grid,
    rng,
    sha256_lines,
    smooth_noise,
    write_csv,
    write_text,
)
from climb_hf.optional import require

__all__ = ["make"]

_LOCAL = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,Edema,Emphysema,"
    "Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,Mediastinal shift,Nodule/Mass,Pleural effusion,"
    "Pleural thickening,Pneumothorax,Pulmonary fibrosis,Rib fracture,Other lesion"
)
_COLUMN = {  # Table 7 -> column, in the order of Table 7
    "Lung tumor": "Lung tumor",
    "Pneumonia": "Pneumonia",
    "Tuberculosis": "Tuberculosis",
    "COPD": "COPD",
    "Other diseases": "Other diseases",
    "No finding": "No finding",
}
_GLOBAL = "COPD,Lung tumor,Pneumonia,Tuberculosis,Other diseases,No finding"  # order of the columns
_SIGN = {  # class -> local finding that its box names
    "Lung tumor": "Nodule/Mass",
    "Pneumonia": "Consolidation",
    "Tuberculosis": "Infiltration",
    "COPD": "Emphysema",
    "Other diseases": "Cardiomegaly",
}
_SHAPES = ((192, 160), (176, 176), (208, 192), (224, 184))
