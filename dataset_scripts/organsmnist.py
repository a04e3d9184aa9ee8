"""OrganSMNIST+: 25,211 sagittal slices of abdominal CT (LiTS), one organ each, by Yang et al., 2023.

Features: grey, cut around an organ's box in the sagittal plane, abdominal window. Classes: eleven organs. Splits: the
publisher's. Licence: CC-BY-4.0. See `_medmnist` for what the sets share.
"""

from climb_hf.dataset_scripts._medmnist import MedMnist


class OrganSMnist(MedMnist):
    """OrganSMNIST+."""

    name = "organsmnist"
    title = "OrganSMNIST+: organs in sagittal slices of abdominal CT"
    modality = "CT"
    domains = ("Radiology",)
    tasks = ("Classification",)
    published_splits = {"train": 13932, "validation": 2452, "test": 8827}
    cautions = (
        "The three organ sets cut the same CT volumes in three planes: train on one, test on another, and it leaks.",
        "Until v2.2.3 the set held blank pictures (25,221 in all); that file, of 28 px only, is refused.",
        "Left and right organs are classes of their own: do not mirror the pictures.",
    )
    n_channels = 1
    md5 = {
        28: "9ab87b696fb54e2a387ebe992d6ed5f1",
        64: "53a6d115339d874c25e309a994ff46d3",
        128: "ded0c5fa01a95dc4978b956f613e9b8e",
        224: "b354719e553fbbb2513d5533f52a4cb1",
    }
    replaced_counts = (13940, 2452, 8829)
    zero_shot_names = (
        "bladder",
        "femur-left",
        "femur-right",
        "heart",
        "kidney-left",
        "kidney-right",
        "liver",
        "lung-left",
        "lung-right",
        "pancreas",
        "spleen",
    )
