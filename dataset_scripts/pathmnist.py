"""PathMNIST+: 107,180 tiles of colorectal tissue, by Yang et al., 2023.

Features: RGB, at 224 px the source's own tiles. Classes: nine kinds of tissue. Splits: the publisher's. Licence: CC-
BY-4.0. See `_medmnist` for what the sets share.
"""

from climb_hf.dataset_scripts._medmnist import MedMnist


class PathMnist(MedMnist):
    """PathMNIST+."""

    name = "pathmnist"
    title = "PathMNIST+: tiles of colorectal tissue"
    modality = "Tissues"
    domains = ("Pathology", "Oncology")
    tasks = ("Classification",)
    published_splits = {"train": 89996, "validation": 10004, "test": 7180}
    cautions = (
        "train and val are NCT-CRC-HE-100K, test is CRC-VAL-HE-7K: the tiles of `nct_crc_he`, background included.",
        "train and val were drawn tile by tile: tiles of one slide may stand in both.",
    )
    n_channels = 3
    md5 = {
        28: "a8b06965200029087d5bd730944a56c1",
        64: "55aa9c1e0525abe5a6b9d8343a507616",
        128: "ac42d08fb904d92c244187169d1fd1d9",
        224: "2c51a510bcdc9cf8ddb2af93af1eadec",
    }
    zero_shot_names = (
        "adipose",
        "background",
        "debris",
        "lymphocytes",
        "mucus",
        "smooth muscle",
        "normal colon mucosa",
        "cancer-associated stroma",
        "colorectal adenocarcinoma epithelium",
    )
