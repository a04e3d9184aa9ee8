"""Captions by panel label: hand-written cases of how articles write them, and of what only looks like a label."""

import pytest

from climb_hf.figures.captions import split_caption
from climb_hf.figures.markers import find_markers

BEFORE = [
    ("(a) CT scan. (b) MRI.", {"a": "CT scan.", "b": "MRI."}),
    ("(A) CT scan. (B) MRI.", {"A": "CT scan.", "B": "MRI."}),
    ("[a] CT scan. [b] MRI.", {"a": "CT scan.", "b": "MRI."}),
    ("a) CT; b) MRI; c) PET.", {"a": "CT", "b": "MRI", "c": "PET."}),
    ("A, CT scan. B, MRI of the brain.", {"A": "CT scan.", "B": "MRI of the brain."}),
    ("A. CT scan. B. MRI of the brain.", {"A": "CT scan.", "B": "MRI of the brain."}),
    ("A: CT scan; B: MRI; C: PET.", {"A": "CT scan", "B": "MRI", "C": "PET."}),
    ("a, CT. b, MRI. c, Histology.", {"a": "CT.", "b": "MRI.", "c": "Histology."}),
    ("a – CT. b – MRI.", {"a": "CT.", "b": "MRI."}),
    ("a Axial CT. b Coronal CT. c MRI", {"a": "Axial CT.", "b": "Coronal CT.", "c": "MRI"}),
    ("A CT of the lung. B MRI of the brain.", {"A": "CT of the lung.", "B": "MRI of the brain."}),
    ("Panel A: CT. Panel B: MRI.", {"A": "CT.", "B": "MRI."}),
    ("(panel a) CT. (panel b) MRI.", {"a": "CT.", "b": "MRI."}),
    ("(i) Axial. (ii) Coronal. (iii) Sagittal.", {"i": "Axial.", "ii": "Coronal.", "iii": "Sagittal."}),
    ("(I) Axial. (II) Coronal.", {"I": "Axial.", "II": "Coronal."}),
    ("(1) CT; (2) MRI.", {"1": "CT", "2": "MRI."}),
    ("(A1) HE. (A2) PAS. (B1) Van Gieson.", {"A1": "HE.", "A2": "PAS.", "B1": "Van Gieson."}),
    ("Fig. 2. (a) CT. (b) MRI.", {"a": "CT.", "b": "MRI."}),
    ("Figure 3 (a) CT. (b) MRI.", {"a": "CT.", "b": "MRI."}),
    ("(a) CT, (b) MRI, and (c) PET.", {"a": "CT", "b": "MRI", "c": "PET."}),
    ("(a) CT (b) MRI (c) PET", {"a": "CT", "b": "MRI", "c": "PET"}),
    ("(a) CT (arrow). (b) MRI (arrowhead).", {"a": "CT (arrow).", "b": "MRI (arrowhead)."}),
    ("(a) CT of (left) and (right) lung. (b) MRI.", {"a": "CT of (left) and (right) lung.", "b": "MRI."}),
    ("(a) CT. (b) MRI. (d) PET.", {"a": "CT.", "b": "MRI.", "d": "PET."}),
    ("(a)CT scan. (b)MRI.", {"a": "CT scan.", "b": "MRI."}),
]
SETS = [
    ("(a, b) CT. (c) MRI.", {"a": "CT.", "b": "CT.", "c": "MRI."}),
    ("(a,b) CT. (c,d) MRI.", {"a": "CT.", "b": "CT.", "c": "MRI.", "d": "MRI."}),
    ("(a-c) CT at three levels. (d) MRI.", dict.fromkeys("abc", "CT at three levels.") | {"d": "MRI."}),
    ("(a–c) CT at three levels. (d) MRI.", dict.fromkeys("abc", "CT at three levels.") | {"d": "MRI."}),
    ("(a\u2011c) CT at three levels. (d) MRI.", dict.fromkeys("abc", "CT at three levels.") | {"d": "MRI."}),
    ("(a to c) CT at three levels. (d) MRI.", dict.fromkeys("abc", "CT at three levels.") | {"d": "MRI."}),
    ("(A and B) CT. (C) MRI.", {"A": "CT.", "B": "CT.", "C": "MRI."}),
    ("(A & B) CT. (C) MRI.", {"A": "CT.", "B": "CT.", "C": "MRI."}),
    ("(A/B) CT. (C) MRI.", {"A": "CT.", "B": "CT.", "C": "MRI."}),
    ("(a) and (b) CT. (c) MRI.", {"a": "CT.", "b": "CT.", "c": "MRI."}),
    ("(a), (b) CT. (c) MRI.", {"a": "CT.", "b": "CT.", "c": "MRI."}),
    ("(a)–(c) CT, (d) MRI.", dict.fromkeys("abc", "CT") | {"d": "MRI."}),
    ("A–C, CT. D, MRI.", dict.fromkeys("ABC", "CT.") | {"D": "MRI."}),
    ("A and B: CT. C: MRI.", {"A": "CT.", "B": "CT.", "C": "MRI."}),
    ("A, B, and C: CT. D: MRI.", dict.fromkeys("ABC", "CT.") | {"D": "MRI."}),
    ("(a, c) CT.", {}),  # b is missing: no sequence
    ("(A1-A3) HE. (B1) PAS.", {"A1": "HE.", "A2": "HE.", "A3": "HE.", "B1": "PAS."}),
    ("(a,b) Control. (c,d) Treated. (a,c) HE. (b,d) PAS.", {
        "a": "Control. HE.", "b": "Control. PAS.", "c": "Treated. HE.", "d": "Treated. PAS."}),
    ("(a-c) CT in (a) axial, (b) coronal and (c) sagittal planes.", {
        "a": "CT in axial", "b": "CT in coronal", "c": "CT in sagittal planes."}),
    ("(a–b, d) CT. (c) MRI.", {"a": "CT.", "b": "CT.", "c": "MRI.", "d": "CT."}),
    ("(a, c) Before. (b, d) After.", {"a": "Before.", "b": "After.", "c": "Before.", "d": "After."}),
]  # fmt: skip
SHARED = [
    ("Chest images. (a) CT. (b) MRI.", {"a": "Chest images. CT.", "b": "Chest images. MRI."}),
    ("Images of the chest: (a) axial; (b) coronal.", {
        "a": "Images of the chest: axial", "b": "Images of the chest: coronal."}),
    ("Micrographs of (a) liver, (b) kidney, and (c) spleen.", {
        "a": "Micrographs of liver", "b": "Micrographs of kidney", "c": "Micrographs of spleen."}),
    ("(a) Liver. (b) Kidney. Scale bar, 50 µm.", {"a": "Liver. Scale bar, 50 µm.", "b": "Kidney. Scale bar, 50 µm."}),
    ("(a) Liver. (b) Kidney. Abbreviations: HE, stain.", {
        "a": "Liver. Abbreviations: HE, stain.", "b": "Kidney. Abbreviations: HE, stain."}),
    ("A 54-year-old man. CT. (A) Axial. (B) Coronal.", {
        "A": "A 54-year-old man. CT. Axial.", "B": "A 54-year-old man. CT. Coronal."}),
    ("Man, 45 years. A, CT. B, MRI.", {"A": "Man, 45 years. CT.", "B": "Man, 45 years. MRI."}),
]  # fmt: skip
BEHIND = [
    ("Axial CT (A), coronal CT (B), and MRI (C).", {"A": "Axial CT", "B": "coronal CT", "C": "MRI"}),
    ("Axial (a) and coronal (b) views.", {"a": "Axial views.", "b": "coronal views."}),
    ("CT (a) and MRI (b) show a mass.", {"a": "CT show a mass.", "b": "MRI show a mass."}),
    ("A man with fever. CT shows opacity (a). MRI shows edema (b).", {
        "a": "A man with fever. CT shows opacity", "b": "A man with fever. MRI shows edema"}),
    ("CT before (a,b) and after (c,d).", {"a": "CT before", "b": "CT before", "c": "after", "d": "after"}),
    ("CT(a) and MRI(b) of the brain.", {"a": "CT of the brain.", "b": "MRI of the brain."}),
    ("CT (a); MRI (b). Biopsy was done.", {"a": "CT. Biopsy was done.", "b": "MRI. Biopsy was done."}),
    ("CT (a) shows a mass. MRI (b) shows edema.", {"a": "CT shows a mass.", "b": "MRI shows edema."}),
    ("CT (a) shows a mass, while MRI (b) shows edema.", {"a": "CT shows a mass", "b": "MRI shows edema."}),
    ("Images (A: control, B: treated, C: sham).", {"A": "Images control", "B": "Images treated", "C": "Images sham."}),
]  # fmt: skip
NOT_LABELS = [
    ("Chest radiograph.", {}),
    ("", {}),
    ("(a) CT.", {}),
    ("Time (s) and height (m) of (n) patients.", {}),
    ("Factor(s) in group(s), see Fig. 2a and Fig. 2b.", {}),
    ("The same patient as in Fig. 1 (a) and Fig. 1 (b).", {}),
    ("Weights (see Table 1 (a)) and sizes (b).", {}),
    ("A mouse model of disease. B cells were stained.", {}),
    ("A CT scan of a man. B lymphocytes in blood.", {}),
    ("Growth of E. coli and C. elegans.", {}),
    ("Patient A had fever, patient B had none.", {}),
    ("Vitamin A and vitamin B levels.", {}),
    ("(b) CT. (c) MRI.", {}),
    ("Levels of lipoprotein(a). (a) Men. (b) Women.", {
        "a": "Levels of lipoprotein(a). Men.", "b": "Levels of lipoprotein(a). Women."}),
    ("(a) Time (s). (b) Height (m).", {"a": "Time (s).", "b": "Height (m)."}),
    ("(a) Overview; the box is enlarged in (b). (b) Detail.", {
        "a": "Overview; the box is enlarged in (b).", "b": "Detail."}),
    ("(a) CT. (b) MRI of the lesion in (a).", {"a": "CT.", "b": "MRI of the lesion in (a)."}),
    ("(a) CT, see Fig. 2a. (b) MRI, see Fig. 3 (a).", {"a": "CT, see Fig. 2a.", "b": "MRI, see Fig. 3 (a)."}),
    ("(a) CT vs. (n = 3) controls. (b) MRI.", {"a": "CT vs. (n = 3) controls.", "b": "MRI."}),
    ("(A) Stain of (i) liver and (ii) kidney. (B) Blot.", {
        "A": "Stain of (i) liver and (ii) kidney.", "B": "Blot."}),
    ("(a) CT (1) and (2). (b) MRI.", {"a": "CT (1) and (2).", "b": "MRI."}),
    ("A (n = 3) and B (n = 4) groups.", {}),
    ("(A) A CT scan. (B) A T2 image.", {"A": "A CT scan.", "B": "A T2 image."}),
    ("(a) Grade (b) is not shown. (b) MRI.", {"a": "Grade (b) is not shown.", "b": "MRI."}),
]  # fmt: skip
CASES = [*BEFORE, *SETS, *SHARED, *BEHIND, *NOT_LABELS]


def test_there_are_enough_cases():
    assert len(CASES) >= 60
    assert len({caption for caption, _ in CASES}) == len(CASES)


@pytest.mark.parametrize(("caption", "expected"), CASES)
def test_texts_by_label(caption, expected):
    assert split_caption(caption) == expected
    assert list(split_caption(caption)) == list(expected)


@pytest.mark.parametrize("caption", ["(" * 5000, "(a) " * 3000, "a, b, " * 3000, "A-" * 4000, "(a, b, " * 2000])
def test_strange_captions_end_soon(caption):
    assert isinstance(split_caption(caption), dict)


def test_markers_say_where_they_stand():
    caption = "Two images. (a) CT, time (s). (b) MRI."
    found = find_markers(caption)
    assert [caption[marker.start : marker.end] for marker in found] == ["(a)", "(b)"]
    assert all(marker.begins for marker in found)
