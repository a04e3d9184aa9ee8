"""DermaMNIST+: 10,015 dermoscopy pictures of pigmented skin lesions, by Yang et al., 2023.

Features: RGB, HAM10000's 600 x 450 px pressed into a square. Classes: its seven diagnoses. Splits: the publisher's.
Licence: CC-BY-NC-4.0. See `_medmnist` for what the sets share.
"""

from climb_hf.dataset_scripts._medmnist import MedMnist


class DermaMnist(MedMnist):
    """DermaMNIST+."""

    name = "dermamnist"
    title = "DermaMNIST+: dermoscopy pictures of pigmented lesions"
    license = "CC-BY-NC-4.0"
    license_note = "As HAM10000, from which the pictures are; the other sets of MedMNIST are CC-BY-4.0."
    modality = "Dermoscopy"
    domains = ("Dermatology", "Oncology")
    tasks = ("Diagnostics",)
    published_splits = {"train": 7007, "validation": 1003, "test": 2005}
    cautions = (
        "The publisher split HAM10000 picture by picture: lesions stand on both sides, and no lesion id is given.",
        "The same pictures as in `ham10000` and `skincancer`, under other ids and with another split.",
    )
    n_channels = 3
    md5 = {
        28: "0744692d530f8e62ec473284d019b0c7",
        64: "b70a2f5635c6199aeaa28c31d7202e1f",
        128: "2defd784463fa5243564e855ed717de1",
        224: "8974907d8e169bef5f5b96bc506ae45d",
    }
    zero_shot_names = (
        "actinic keratoses and intraepithelial carcinoma",
        "basal cell carcinoma",
        "benign keratosis-like lesions",
        "dermatofibroma",
        "melanoma",
        "melanocytic nevi",
        "vascular lesions",
    )
