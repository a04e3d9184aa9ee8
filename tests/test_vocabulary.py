"""The unified label vocabulary: classes of every source, what is shared, and that V only grows."""

import hashlib
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from climb_hf import vocabulary
from climb_hf.errors import LabelError, VocabularyError
from climb_hf.vocabulary import concepts, display_name, schemes, source_vocabulary, sources, string_vocabulary
from climb_hf.vocabulary_file import HEADER, read_blocks

CHEXPERT = (
    "Atelectasis|Cardiomegaly|Consolidation|Edema|Enlarged Cardiomediastinum|Fracture|Lung Lesion|Lung Opacity|"
    "Pleural Effusion|Pneumonia|Pneumothorax|Pleural Other|Support Devices|No Finding"
)
SKIN = (
    "Melanoma (MEL)|Nevus (NV)|Basal Cell Carcinoma (BCC)|"
    "Actinic Keratosis/Intraepithelial Carcinoma (AKIEC)|Other (OTHER)"
)
ECG = (
    "Normal|Conduction Delay (CD)|Hypertrophy (HYP)|Myocardial Infarction (MI)|"
    "Sinus Tachycardia/Bradycardia/Conduction (STTC)|Atrial Fibrillation/Atrial Flutter (A. Fib/Aflutter)|Other"
)
ECG_SOURCES = ("ptbxl", "chapman_shaoxing", "georgia", "cpsc")
FINEGRAINED = (
    "Normal ECG (NORM)|Ischemic in inferior leads (ISCI)|Non-specific ST changes (NST_)|"
    "Ischemic in anterior leads (ISCA)|Non-specific ischemic (ISC_)|ST-T changes (STTC)|"
    "Right ventricular hypertrophy (RVH)|Right atrial overload/enlargement (RAO/RAE)|Septal hypertrophy (SEHYP)|"
    "Left atrial overload/enlargement (LAO/LAE)|Anterior myocardial infarction (AMI)|"
    "Inferior myocardial infarction (IMI)|Lateral myocardial infarction (LMI)|Posterior myocardial infarction (PMI)|"
    "Left anterior/left posterior fascicular block (LAFB/LPFB)|Incomplete right bundle branch block (IRBBB)|"
    "AV block (_AVB)|Non-specific intraventricular conduction disturbance (IVCD)|"
    "Complete right bundle branch block (CRBBB)|Complete left bundle branch block (CLBBB)|"
    "Wolff-Parkinson-White syndrome (WPW)|Incomplete left bundle branch block (ILBBB)|"
    "Left ventricular hypertrophy (LVH)"
)
PHASES = (
    "Preparation|Calot Triangle Dissection|Clipping Cutting|Gallbladder Dissection|Gallbladder Packaging|"
    "Cleaning Coagulation|Gallbladder Retraction"
)
TOOLS = "Grasper|Bipolar|Hook|Scissors|Clipper|Irrigator|Specimen Bag"
BIRADS = "BI-RAD 1|BI-RAD 2|BI-RAD 3|BI-RAD 4|BI-RAD 5"
COLON = (
    "Debris|Lymphocytes|Mucus|Smooth muscle|Normal colon mucosa|Cancer-associated stroma|"
    "Colorectal adenocarcinoma epithelium"
)
DAVIS = (
    "SDR (simple diabetic retinopathy)|PPDR (pre-proliferative diabetic retinopathy)|"
    "PDR (proliferative diabetic retinopathy)"
)
ORGANS = "bladder|femur-left|femur-right|heart|kidney-left|kidney-right|liver|lung-left|lung-right|pancreas|spleen"

#: (source, scheme): number of raw values, multi-label, classes of the paper's Table 7 in its order.
EXPECTED = {
    ("mimic_cxr", "climb"): (14, True, CHEXPERT),
    ("chexpert", "climb"): (14, True, CHEXPERT),
    ("vindr_cxr", "climb"): (28, True, "Lung tumor|Pneumonia|Tuberculosis|COPD|Other diseases|No finding"),
    ("vindr_cxr", "findings"): (28, True, CHEXPERT),
    ("covid19_cxr", "climb"): (4, False, "Normal|Bacterial Pneumonia|COVID-19|Viral Pneumonia"),
    ("coronahack", "climb"): (7, False, "Normal|Bacterial Pneumonia|Viral Pneumonia"),
    ("vindr_mammo", "climb"): (5, False, BIRADS),
    ("cbis_ddsm", "climb"): (6, False, BIRADS),
    ("cbis_ddsm", "include_birads0"): (6, False, "BI-RAD 0|" + BIRADS),
    ("cmmd", "climb"): (2, False, "Benign|Malignant"),
    ("isic2020", "climb"): (2, False, "Malignant|Benign"),
    ("ham10000", "climb"): (7, False, SKIN),
    ("pad_ufes_20", "climb"): (6, False, SKIN),
    ("messidor2", "climb"): (5, False, "None|Mild DR|Moderate DR|Severe DR|PDR"),
    ("aptos2019", "climb"): (5, False, "No DR|Mild|Moderate|Severe|Proliferative DR"),
    ("jichi", "climb"): (4, False, "NDR (no diabetic retinopathy)|" + DAVIS),
    ("jichi", "drop_ndr"): (4, False, DAVIS),
    ("lndb", "climb"): (3, False, "nodule >= 3mm|nodule < 3mm|non-nodule"),
    ("inspect", "climb"): (
        5,
        False,
        "No PE|Acute Subsegmental-only PE|Acute PE|Subsegmental-only PE|Chronic PE",
    ),
    ("rspect", "climb"): (3, False, "No PE|Chronic PE|Acute PE"),
    ("hemorrhage", "climb"): (7, False, "No Hemorrhage|Has Hemorrhage"),
    ("kits23", "climb"): (3, False, "Benign|Malignant"),
    ("brain_tumor", "climb"): (4, False, "No Tumor|Pituitary Tumor|Glioma Tumor|Meningioma Tumor"),
    ("brain_mri", "climb"): (2, False, "No|Yes"),  # decided: index 1 = tumor; Table 7 prints Yes first
    ("busi", "climb"): (3, False, "Normal|Malignant|Benign"),
    ("covid_blues", "climb"): (2, False, "Has COVID|No COVID"),
    ("covid_us", "climb"): (4, False, "Covid|Pneumonia|Normal"),
    ("echonet_dynamic", "climb"): (0, True, ""),
    ("cholec80", "climb"): (14, True, PHASES + "|" + TOOLS),
    ("cholec80", "phase"): (7, True, PHASES),
    ("cholec80", "tool"): (7, True, TOOLS),
    ("lc25000", "climb"): (
        5,
        False,
        "Colon adenocarcinomas|Benign colon|Lung adenocarcinomas|Lung squamous cell carcinomas|Benign lung",
    ),
    ("bcss", "climb"): (22, False, "Tumor|Stroma|Lymphocytic infiltrate|Necrosis/debris"),
    ("ptbxl", "climb"): (131, True, ECG),
    ("ptbxl", "benchmd"): (7, True, ECG),
    ("chapman_shaoxing", "climb"): (94, True, ECG),
    ("chapman_shaoxing", "benchmd"): (7, True, ECG),
    ("georgia", "climb"): (123, True, ECG),
    ("georgia", "benchmd"): (7, True, ECG),
    ("cpsc", "climb"): (9, True, ECG),
    ("cpsc", "benchmd"): (7, True, ECG),
    ("ptbxl_finegrained", "climb"): (71, True, FINEGRAINED),
    ("tuab", "climb"): (2, False, "Normal|Abnormal"),
    ("tuev", "climb"): (
        6,
        False,
        "Spike and Slow Wave (SPSW)|Generalized Periodic Epileptiform Discharge (GPED)|"
        "Periodic Lateralized Epileptiform Discharge (PLED)|Eye Movement (EYEM)|Artifact (ARTF)|Background (BCKG)",
    ),
    ("iiic", "climb"): (
        6,
        False,
        "Seizure (SZ)|Lateralized Periodic Discharges (LPD)|Generalized Periodic Discharges (GPD)|"
        "Lateralized Rhythmic Delta Activity (LRDA)|Generalized Rhythmic Delta Activity (GRDA)|Other",
    ),
    ("hugadb", "climb"): (12, True, "Sitting|Standing|Sitting down|Standing up"),
    ("abcd", "climb"): (2, False, "Female|Male"),
    ("abcd", "diagnosis"): (2, False, "Normal|Abnormal"),
    ("abide", "climb"): (2, False, "ASD|Typical controls"),
    ("ppmi", "climb"): (2, False, "Control|PD patients"),
    ("proteins", "climb"): (2, False, "Enzyme|Not enzyme"),
    ("expression_atlas", "climb"): (0, True, ""),
    ("geo", "climb"): (0, True, ""),
    ("vital", "climb"): (0, True, ""),
    ("mimic_iv", "climb"): (2, False, "No|Yes"),
    ("quilt1m", "climb"): (0, True, ""),
    ("deepeyenet", "climb"): (0, True, ""),
    ("ppi", "climb"): (121, True, "|".join(f"go_{index:03d}" for index in range(121))),
    ("pcam", "climb"): (2, False, "No metastatic tumor|Metastatic tumor"),
    ("nct_crc_he", "climb"): (9, False, "Adipose|" + COLON),
    ("nct_crc_he", "include_background"): (9, False, "Adipose|Background|" + COLON),
    ("lc25000_lung", "climb"): (3, False, "Benign lung|Lung adenocarcinomas|Lung squamous cell carcinomas"),
    ("lc25000_colon", "climb"): (2, False, "Benign colon|Colon adenocarcinomas"),
    ("bach", "climb"): (
        4,
        False,
        "Benign breast tissue|Breast carcinoma in situ|Invasive breast carcinoma|Normal breast tissue",
    ),
    ("sicapv2", "climb"): (4, False, "Non-cancerous prostate|Gleason grade 3|Gleason grade 4|Gleason grade 5"),
    ("pathmnist", "climb"): (
        9,
        False,
        "adipose|background|debris|lymphocytes|mucus|smooth muscle|normal colon mucosa|cancer-associated stroma|"
        "colorectal adenocarcinoma epithelium",
    ),
    ("dermamnist", "climb"): (
        7,
        False,
        "actinic keratoses and intraepithelial carcinoma|basal cell carcinoma|benign keratosis-like lesions|"
        "dermatofibroma|melanoma|melanocytic nevi|vascular lesions",
    ),
    ("octmnist", "climb"): (4, False, "choroidal neovascularization|diabetic macular edema|drusen|normal"),
    ("pneumoniamnist", "climb"): (2, False, "normal|pneumonia"),
    ("retinamnist", "climb"): (5, False, "No apparent retinopathy|Mild NPDR|Moderate NPDR|Severe NPDR|PDR"),
    ("breastmnist", "climb"): (2, False, "malignant|normal, benign"),
    ("bloodmnist", "climb"): (
        8,
        False,
        "basophil|eosinophil|erythroblast|immature granulocytes(myelocytes, metamyelocytes and promyelocytes)|"
        "lymphocyte|monocyte|neutrophil|platelet",
    ),
    ("tissuemnist", "climb"): (
        8,
        False,
        "Collecting Duct, Connecting Tubule|Distal Convoluted Tubule|Glomerular endothelial cells|"
        "Interstitial endothelial cells|Leukocytes|Podocytes|Proximal Tubule Segments|Thick Ascending Limb",
    ),
    ("organamnist", "climb"): (11, False, ORGANS),
    ("organcmnist", "climb"): (11, False, ORGANS),
    ("organsmnist", "climb"): (11, False, ORGANS),
    ("pad_ufes_20_6class", "climb"): (
        6,
        False,
        "Basal Cell Carcinoma|Melanoma|Squamous Cell Carcinoma|Actinic Keratosis|Nevus|Seborrheic Keratosis",
    ),
    ("skincancer", "climb"): (
        7,
        False,
        "Melanocytic Nevi|Melanoma|Benign Keratosis-like Lesions|Basal Cell Carcinoma|"
        "Actinic Keratoses and Intraepithelial Carcinoma|Vascular Lesions|Dermatofibroma",
    ),
}

# V is append-only: label indices stand in built data sets and checkpoints, so the prefixes pinned here (length and
# SHA-256 of the concepts joined by line feeds) must never change. Appended concepts get a new line; older ones stay.
PINS = [
    (277, "0c9b7be67687df1ea372494a4289ef1019e04b3116c46bf38a82c94ab1eee939"),
    (334, "0c46bd18e46a9bd81cbafb0e8aef8327e290495bcbd8bd1c793560a7af6c1739"),
]

ALL = [source_vocabulary(source, scheme) for source in sources() for scheme in schemes(source)]


def concept(source, raw, scheme="climb"):
    return source_vocabulary(source, scheme).concept_of(raw)


@pytest.mark.parametrize("key", EXPECTED, ids="-".join)
def test_classes(key):
    raw_values, multi_label, names = EXPECTED[key]
    found = source_vocabulary(*key)
    assert found.classes == tuple(filter(None, names.split("|")))
    assert (len(found.raw_values), found.multi_label) == (raw_values, multi_label)
    assert len(set(found.concepts)) == len(found.classes)
    assert [concepts()[index] for index in found.indices] == list(found.concepts)


def test_nothing_else():
    assert {(found.source, found.scheme) for found in ALL} == set(EXPECTED)
    assert {name for found in ALL for name in found.concepts} == set(concepts())


def test_append_only():
    for length, pinned in PINS:
        assert hashlib.sha256("\n".join(concepts()[:length]).encode()).hexdigest() == pinned
    assert len(concepts()) == PINS[-1][0]
    assert concepts()[0] == "chest_xray.atelectasis"
    assert vocabulary.concept_index("chest_xray.no_finding") == 13


def test_slugs():
    slug = re.compile(r"[a-z]+(_[a-z0-9]+)*\.[a-z0-9]+(_[a-z0-9]+)*")
    assert [name for name in concepts() if not slug.fullmatch(name)] == []


def test_documented_concepts_exist():
    text = (Path(__file__).parents[1] / "docs" / "vocabulary.md").read_text(encoding="utf-8")
    prefixes = {name.split(".")[0] for name in concepts()}
    named = {name for name in re.findall(r"`([a-z_]+\.[a-z0-9_]+)`", text) if name.split(".")[0] in prefixes}
    assert len(named) > 15
    assert named <= set(concepts())


@pytest.mark.parametrize(
    ("sources_", "classes"),
    [
        (("mimic_cxr", "chexpert"), 14),
        (("ham10000", "pad_ufes_20"), 5),
        (ECG_SOURCES, 7),
        (("messidor2", "aptos2019", "retinamnist"), 5),
        (("organamnist", "organcmnist", "organsmnist"), 11),
    ],
    ids=["chest", "skin", "ecg", "fundus", "organs"],
)
def test_shared_whole(sources_, classes):
    shared = {source_vocabulary(source).concepts for source in sources_}
    assert len(shared) == 1
    assert len(shared.pop()) == classes


def test_shared_single():
    assert concept("vindr_cxr", "Infiltration", "findings") == concept("chexpert", "Lung Opacity")
    assert concept("vindr_cxr", "Pneumonia") == concept("mimic_cxr", "Pneumonia")
    assert concept("vindr_cxr", "No finding") == concept("mimic_cxr", "No Finding")
    assert concept("covid19_cxr", "BacterialPneumonia") == concept("coronahack", "Pnemonia/bacteria")
    assert concept("covid19_cxr", "Normal") == concept("coronahack", "Normal") == "chest_xray.normal"
    assert source_vocabulary("vindr_mammo").concepts == source_vocabulary("cbis_ddsm").concepts
    assert source_vocabulary("cbis_ddsm", "include_birads0").concepts[1:] == source_vocabulary("cbis_ddsm").concepts
    assert concept("inspect", "pe_positive=0") == concept("rspect", "pe_present_on_image=0")
    assert concept("brain_tumor", "no_tumor") == concept("brain_mri", "no")
    assert concept("covid_blues", "1") == concept("covid_us", "COVID")
    halves = {*source_vocabulary("lc25000_lung").concepts, *source_vocabulary("lc25000_colon").concepts}
    assert halves == set(source_vocabulary("lc25000").concepts)
    assert concept("pneumoniamnist", "0") == concept("coronahack", "Normal")
    assert concept("pneumoniamnist", "1") == concept("mimic_cxr", "Pneumonia")
    assert concept("breastmnist", "0") == concept("busi", "malignant")
    assert set(source_vocabulary("skincancer").concepts) == set(source_vocabulary("dermamnist").concepts)
    assert concept("skincancer", "nv") == concept("pad_ufes_20_6class", "NEV") == concept("ham10000", "nv")


def test_kept_apart():
    normal = {
        concept(source, raw, scheme)
        for source, raw, scheme in (
            ("covid19_cxr", "Normal", "climb"),
            ("busi", "normal", "climb"),
            ("covid_us", "Normal", "climb"),
            ("ptbxl", "NORM", "climb"),
            ("ptbxl_finegrained", "NORM", "climb"),
            ("tuab", "normal", "climb"),
            ("abcd", "Normal", "diagnosis"),
            ("mimic_cxr", "No Finding", "climb"),
        )
    }
    assert len(normal) == 8
    pairs = [
        (concept("covid19_cxr", "ViralPneumonia"), concept("coronahack", "Pnemonia/Virus")),
        (
            concept("inspect", "pe_positive=1 pe_acute=1 pe_subsegmentalonly=0"),
            concept("rspect", "pe_present_on_image=1 chronic_pe=0"),
        ),
        (
            concept("inspect", "pe_positive=1 pe_acute=0 pe_subsegmentalonly=0"),
            concept("rspect", "pe_present_on_image=1 chronic_pe=1"),
        ),
        (concept("jichi", "ndr"), concept("messidor2", "0")),
        (concept("jichi", "pdr"), concept("aptos2019", "4")),
        (concept("isic2020", "malignant"), concept("ham10000", "mel")),
        (concept("cmmd", "Malignant"), concept("busi", "malignant")),
        (concept("covid_blues", "0"), concept("covid_us", "Normal")),
        (concept("vindr_cxr", "Lung tumor"), concept("vindr_cxr", "Lung tumor", "findings")),
        (concept("tuev", "2"), concept("iiic", "3")),
        (concept("abide", "2"), concept("ppmi", "-1")),
        (concept("ptbxl", "NDT"), concept("ptbxl_finegrained", "NDT")),
        (concept("mimic_iv", "1"), concept("brain_mri", "yes")),
        (concept("nct_crc_he", "TUM"), concept("lc25000", "colon_aca")),
        (concept("nct_crc_he", "NORM"), concept("lc25000", "colon_n")),
        (concept("bach", "Invasive"), concept("bcss", "tumor")),
        (concept("pathmnist", "8"), concept("lc25000", "colon_aca")),
        (concept("pathmnist", "6"), concept("lc25000", "colon_n")),
        (concept("breastmnist", "1"), concept("busi", "benign")),
        (concept("pad_ufes_20_6class", "ACK"), concept("skincancer", "akiec")),
        (concept("pad_ufes_20_6class", "SEK"), concept("skincancer", "bkl")),
        (concept("pneumoniamnist", "1"), concept("covid19_cxr", "BacterialPneumonia")),
    ]
    assert all(left and right and left != right for left, right in pairs)


@pytest.mark.parametrize(
    ("source", "raw", "expected"),
    [
        ("vindr_cxr", "Other disease", "Other diseases"),
        ("vindr_cxr", "Infiltration", None),
        ("coronahack", "Pnemonia/Virus/SARS", "Viral Pneumonia"),
        ("coronahack", "Pnemonia/Stress-Smoking/ARDS", None),
        ("cbis_ddsm", "0", None),
        ("pad_ufes_20", "SCC", "Actinic Keratosis/Intraepithelial Carcinoma (AKIEC)"),
        ("hemorrhage", "Subdural", "Has Hemorrhage"),
        ("hemorrhage", "Fracture_Yes_No", None),
        ("bcss", "0", None),
        ("bcss", "tumor", "Tumor"),
        ("covid_us", "other", None),
        ("iiic", "0", "Other"),
        ("hugadb", "walking", None),
        ("hugadb", "8", "Standing"),
        ("abide", "1", "ASD"),
        ("proteins", "1", "Enzyme"),
        ("ptbxl", "SBRAD", "Normal"),
        ("ptbxl", "MID", None),
        ("ptbxl", "ARAD", "Hypertrophy (HYP)"),
        ("ptbxl", "INVT", "Myocardial Infarction (MI)"),
        ("ptbxl", "PRC(S)", "Other"),
        ("ptbxl", "233917008", None),
        ("ptbxl", "59931005", "Myocardial Infarction (MI)"),
        ("georgia", "59931005", "Sinus Tachycardia/Bradycardia/Conduction (STTC)"),
        ("georgia", "164889003", "Atrial Fibrillation/Atrial Flutter (A. Fib/Aflutter)"),  # lost in BenchMD
        ("georgia", "54329005", "Myocardial Infarction (MI)"),
        ("chapman_shaoxing", "59118001", "Conduction Delay (CD)"),  # lost in BenchMD
        ("chapman_shaoxing", "251146004", "Other"),
        ("chapman_shaoxing", "57054005", "Myocardial Infarction (MI)"),  # Ningbo only
        ("cpsc", "164889003", "Atrial Fibrillation/Atrial Flutter (A. Fib/Aflutter)"),
        ("cpsc", "4", "Conduction Delay (CD)"),
        ("ptbxl_finegrained", "INJIN", "Inferior myocardial infarction (IMI)"),
        ("ptbxl_finegrained", "SR", None),
    ],
)
def test_raw_values(source, raw, expected):
    assert source_vocabulary(source).class_of(raw) == expected


def test_ecg_counts():
    scp = [raw for raw in source_vocabulary("ptbxl_finegrained").raw_values]
    fine = source_vocabulary("ptbxl_finegrained")
    assert (len(scp), sum(fine.class_of(raw) is not None for raw in scp)) == (71, 44)
    assert set(scp) <= set(source_vocabulary("ptbxl").raw_values)
    assert source_vocabulary("cpsc").classes_without_values == ("Hypertrophy (HYP)", "Myocardial Infarction (MI)")
    assert source_vocabulary("cpsc", "benchmd").classes_without_values == ()
    assert source_vocabulary("vindr_cxr", "findings").classes_without_values == ("Support Devices",)


def test_sorted_concepts():
    chest = source_vocabulary("vindr_cxr", "findings")
    assert chest.sorted_concepts(["Infiltration", "Rib fracture", "Lung Opacity", "ILD", "Clavicle fracture"]) == (
        "chest_xray.fracture",
        "chest_xray.lung_opacity",
    )
    assert chest.sorted_concepts([]) == ()


def test_raw_scheme():
    vindr = source_vocabulary("vindr_cxr")
    assert (len(vindr.raw_scheme()), vindr.raw_scheme()[4]) == (28, "Other diseases")
    assert vindr.canonical("Other disease") == "Other diseases"
    assert source_vocabulary("mimic_cxr").canonical("Airspace Opacity") == "Lung Opacity"
    assert vindr.knows("Other disease")
    assert not vindr.knows("Other")


def test_unknown_value():
    with pytest.raises(LabelError, match=r"covid19_cxr: .*'normal'.*mean 'Normal'.*'ViralPneumonia'.*needs a row in"):
        source_vocabulary("covid19_cxr").class_of("normal")
    with pytest.raises(LabelError, match=r"and 119 more"):
        source_vocabulary("ptbxl").sorted_concepts(["NORM", "zzz"])
    with pytest.raises(LabelError, match="known values: none"):
        source_vocabulary("geo").concept_of("tissue")


def test_unknown_names():
    with pytest.raises(VocabularyError, match=r"'ptb_xl'.*mean 'ptbxl'.*vocabulary\.sources"):
        source_vocabulary("ptb_xl")
    with pytest.raises(VocabularyError, match=r"use one of \['climb', 'findings'\].*raw_scheme"):
        source_vocabulary("vindr_cxr", "raw")
    with pytest.raises(VocabularyError, match=r"'ecg.norml'.*mean 'ecg.normal'"):
        vocabulary.concept_index("ecg.norml")
    with pytest.raises(VocabularyError, match="no concept"):
        display_name("ecg.norml")


def test_display_names():
    names = [display_name(name) for name in concepts()]
    assert len({name.lower() for name in names}) == len(names)
    assert display_name("chest_xray.lung_opacity") == "Lung Opacity"
    assert display_name("fundus.dr_grade_0") == "None (Fundus)"
    assert display_name("brain_mri.tumor") == "Yes (MRI)"
    assert display_name("chest_ct.acute_pe") == "Acute PE (CT, rspect)"
    assert display_name("chest_xray.pneumonia") == "Pneumonia (Chest X-ray)"


def test_string_vocabulary():
    units, unit_of = string_vocabulary(["covid19_cxr", "busi", "tuab", "mimic_cxr", "vindr_cxr"])
    assert units == tuple(sorted(set(units)))
    assert {unit_of[key] for key in unit_of if key[1].endswith(".normal")} == {"normal"}
    assert (
        unit_of["vindr_cxr", "chest_xray.no_finding"] == unit_of["mimic_cxr", "chest_xray.no_finding"] == "no finding"
    )
    assert "lung tumor" in units
    units, _ = string_vocabulary(["cholec80"], schemes={"cholec80": "tool"})
    assert units == ("bipolar", "clipper", "grasper", "hook", "irrigator", "scissors", "specimen bag")


def test_light_and_stable():
    code = (
        "import sys; from climb_hf import vocabulary; vocabulary.concepts();"
        "print(sorted({'torch', 'pandas', 'numpy', 'datasets', 'transformers'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    found = source_vocabulary("ptbxl")
    before = pickle.dumps(source_vocabulary("georgia"))
    source_vocabulary("georgia").class_of("164889003")
    assert pickle.dumps(source_vocabulary("georgia")) == before
    assert pickle.loads(pickle.dumps(found)) == found
    assert source_vocabulary("ptbxl") is found
    assert hashlib.sha256((Path(vocabulary.__file__).with_name("vocabulary.csv")).read_bytes()).hexdigest() == (
        vocabulary.digest()
    )


GOOD = "a,climb,x,X,ecg.x,ECG,diagnosis,false"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([GOOD, "a,climb,x,Y,ecg.y,ECG,diagnosis,false"], r"line 3 \(a, climb\): raw value 'x' stands twice"),
        ([GOOD, "a,climb,y|x,Y,ecg.y,ECG,diagnosis,false"], "raw value 'x' stands twice"),
        (["a,climb,x,X,,ECG,diagnosis,false"], "class_name 'X' with concept ''"),
        (["a,climb,x,,ecg.x,ECG,diagnosis,false"], "class_name '' with concept 'ecg.x'"),
        (["a,climb,x,X,ECG.x,ECG,diagnosis,false"], "no slug"),
        ([GOOD, "a,climb,y,Y,ecg.y,ECG,diagnosis,true"], "multi_label differs"),
        (["a,climb,x,X,ecg.x,ECG,diagnosis,yes"], "multi_label is 'yes'"),
        ([GOOD, "a,climb,y,Y,ecg.x,ECG,diagnosis,false"], "two classes share the concept"),
        ([GOOD, "a,climb,y,X,ecg.y,ECG,diagnosis,false"], "has another concept above"),
        (
            [GOOD, "a,climb,y,,,ECG,diagnosis,false", "a,climb,z,Z,ecg.z,ECG,diagnosis,false"],
            "follows a value of no class",
        ),
        ([GOOD, "b,climb,y,Y,ecg.y,ECG,diagnosis,false", "a,climb,z,,,ECG,diagnosis,false"], "not in one block"),
        ([GOOD, "b,climb,y,Y,ecg.x,EEG,diagnosis,false"], "modality 'ECG' in line 2"),
        (["a,findings,x,X,ecg.x,ECG,diagnosis,false"], "the first scheme"),
        ([GOOD, "a,climb,,,,ECG,diagnosis,false"], "a raw value is missing"),
        ([GOOD, "a,climb,,X,ecg.x,ECG,diagnosis,false"], "a raw value is missing"),
        (["a,climb,,,,ECG,diagnosis,false"], "write `true`"),
        (["a,climb,x |y,X,ecg.x,ECG,diagnosis,false"], "blanks"),
        (["a,climb,x,X,ecg.x,,diagnosis,false"], "modality or task is empty"),
        (["A b,climb,x,X,ecg.x,ECG,diagnosis,false"], "lower_snake"),
        (["a,climb,x,X,ecg.x,EHR, ECG,diagnosis,false"], "found 9; quote cells"),
        (['a,climb,"x"y,X,ecg.x,ECG,diagnosis,false'], "no valid CSV"),
    ],
)
def test_broken_file(rows, message):
    with pytest.raises(VocabularyError, match=message):
        read_blocks("\n".join([",".join(HEADER), *rows]))


def test_file_header():
    with pytest.raises(VocabularyError, match="as the first line"):
        read_blocks("source,concept\n" + GOOD)
    assert list(read_blocks("\r\n".join([",".join(HEADER), GOOD, ""]))) == [("a", "climb")]
