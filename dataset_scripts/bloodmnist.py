"""BloodMNIST+: 17,092 single normal blood cells, by Yang et al., 2023.

Features: RGB, centre of 200 x 200 px of the original. Classes: eight types of cells. Splits: the publisher's. Licence:
CC-BY-4.0. See `_medmnist` for what the sets share.
"""

from climb_hf.dataset_scripts._medmnist import MedMnist


class BloodMnist(MedMnist):
    """BloodMNIST+."""

    name = "bloodmnist"
    title = "BloodMNIST+: single blood cells"
    modality = "Microscopy"
    domains = ("Hematology",)
    tasks = ("Classification",)
    published_splits = {"train": 11959, "validation": 1712, "test": 3421}
    cautions = ("No donor ids are given: cells of one donor may stand on both sides.",)
    n_channels = 3
    md5 = {
        28: "7053d0359d879ad8a5505303e11de1dc",
        64: "2b94928a2ae4916078ca51e05b6b800b",
        128: "adace1e0ed228fccda1f39692059dd4c",
        224: "b718ff6835fcbdb22ba9eacccd7b2601",
    }
    zero_shot_names = (
        "basophil",
        "eosinophil",
        "erythroblast",
        "immature granulocytes (myelocytes, metamyelocytes, and promyelocytes)",
        "lymphocyte",
        "monocyte",
        "neutrophil",
        "platelet",
    )
