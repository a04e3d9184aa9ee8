"""BreastMNIST+: 780 ultrasound pictures of the breast, by Yang et al., 2023.

Features: grey. Classes: malignant (0), and normal or benign (1). Splits: the publisher's. Licence: CC-BY-4.0. See
`_medmnist` for what the sets share.
"""

from climb_hf.dataset_scripts._medmnist import MedMnist


class BreastMnist(MedMnist):
    """BreastMNIST+."""

    name = "breastmnist"
    title = "BreastMNIST+: ultrasound of the breast"
    modality = "Ultrasound"
    domains = ("Radiology", "Oncology")
    tasks = ("Diagnostics",)
    published_splits = {"train": 546, "validation": 78, "test": 156}
    cautions = (
        "Class 1, positive by number, is normal or benign; class 0 is malignant.",
        "The pictures are those of `busi`, split picture by picture: patients may stand on both sides.",
    )
    n_channels = 1
    md5 = {
        28: "750601b1f35ba3300ea97c75c52ff8f6",
        64: "742edef2a1fd1524b2efff4bd7ba9364",
        128: "363e4b3f8d712e9b5de15470a2aaadf1",
        224: "b56378a6eefa9fed602bb16d192d4c8b",
    }
    zero_shot_names = ("malignant", "normal, benign")
