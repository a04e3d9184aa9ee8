"""OrganAMNIST+: 58,830 axial slices of abdominal CT (LiTS), one organ each, by Yang et al., 2023.

Features: grey, cut around an organ's box in the axial plane, abdominal window. Classes: eleven organs. Splits: the
publisher's. Licence: CC-BY-4.0. See `_medmnist` for what the sets share.
"""

from climb_hf.dataset_scripts._medmnist import MedMnist


class OrganAMnist(MedMnist):
    """OrganAMNIST+."""

    name = "organamnist"
    title = "OrganAMNIST+: organs in axial slices of abdominal CT"
    modality = "CT"
    domains = ("Radiology",)
    tasks = ("Classification",)
    published_splits = {"train": 34561, "validation": 6491, "test": 17778}
    cautions = (
        "The three organ sets cut the same CT volumes in three planes: train on one, test on another, and it leaks.",
        "Until v2.2.3 the set held blank pictures (58,850 in all); that file, of 28 px only, is refused.",
        "Left and right organs are classes of their own: do not mirror the pictures.",
    )
    n_channels = 1
    md5 = {
        28: "68e3f8846a6bd62f0c9bf841c0d9eacc",
        64: "2dcccc29b88e6da5a01161ef20cda288",
        128: "eeae80d0a227a8d099027e1b3cfd3b60",
        224: "50747347e05c87dd3aaf92c49f9f3170",
    }
    replaced_counts = (34581, 6491, 17778)
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
