"""TissueMNIST+: 236,386 cells of the human kidney cortex, by Yang et al., 2023.

Features: grey, maximum projection of 32 x 32 px, enlarged. Classes: eight types of cells. Splits: the publisher's.
Licence: CC-BY-4.0. See `_medmnist` for what the sets share.
"""

from climb_hf.dataset_scripts._medmnist import MedMnist


class TissueMnist(MedMnist):
    """TissueMNIST+."""

    name = "tissuemnist"
    title = "TissueMNIST+: cells of the kidney cortex"
    modality = "Microscopy"
    domains = ("Pathology",)
    tasks = ("Classification",)
    published_splits = {"train": 165466, "validation": 23640, "test": 47280}
    cautions = (
        "The pictures have 32 x 32 px of information at every size above 28.",
        "The cells come from few kidneys, without ids: cells of one kidney stand on both sides.",
    )
    n_channels = 1
    md5 = {
        28: "ebe78ee8b05294063de985d821c1c34b",
        64: "123ece2eba09d0aa5d698fda57103344",
        128: "61b955355d7425a89687b06cca3ce0c2",
        224: "b077128c4a949f0a4eb01517f9037b9c",
    }
    zero_shot_names = (
        "Collecting Duct, Connecting Tubule",
        "Distal Convoluted Tubule",
        "Glomerular endothelial cells",
        "Interstitial endothelial cells",
        "Leukocytes",
        "Podocytes",
        "Proximal Tubule Segments",
        "Thick Ascending Limb",
    )
