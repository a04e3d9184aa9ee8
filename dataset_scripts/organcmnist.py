"""OrganCMNIST+: 23,583 coronal slices of abdominal CT (LiTS), one organ each, by Yang et al., 2023.

Features: grey, cut around an organ's box in the coronal plane, abdominal window. Classes: eleven organs. Splits: the
publisher's. Licence: CC-BY-4.0. See `_medmnist` for what the sets share.
"""

from climb_hf.dataset_scripts._medmnist import MedMnist


class OrganCMnist(MedMnist):
    """OrganCMNIST+."""

    name = "organcmnist"
    title = "OrganCMNIST+: organs in coronal slices of abdominal CT"
    modality = "CT"
    domains = ("Radiology",)
    tasks = ("Classification",)
    published_splits = {"train": 12975, "validation": 2392, "test": 8216}
    cautions = (
        "The three organ sets cut the same CT volumes in three planes: train on one, test on another, and it leaks.",
        "Until v2.2.3 the set held blank pictures (23,660 in all); that file, of 28 px only, is refused.",
        "Left and right organs are classes of their own: do not mirror the pictures.",
    )
    n_channels = 1
    md5 = {
        28: "b9ceb9546e10131b32923c5bbeaea2b1",
        64: "3ce34a8724ea6f548e6db4744d03b6a9",
        128: "773c1f009daa3fe5d9a2a201b2a7ed94",
        224: "050f5e875dc056f6768abf94ec9995d1",
    }
    replaced_counts = (13000, 2392, 8268)
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
