"""PneumoniaMNIST+: 5,856 chest X-rays of children with and without pneumonia, by Yang et al., 2023.

Features: grey, centre of the film, short side (as short as 127 px: enlarged to 224). Classes: normal, pneumonia.
Splits: the publisher's. Licence: CC-BY-4.0. See `_medmnist` for what the sets share.
"""

from climb_hf.dataset_scripts._medmnist import MedMnist


class PneumoniaMnist(MedMnist):
    """PneumoniaMNIST+."""

    name = "pneumoniamnist"
    title = "PneumoniaMNIST+: chest X-rays of children"
    modality = "Chest X-ray"
    domains = ("Radiology",)
    tasks = ("Diagnostics",)
    published_splits = {"train": 4708, "validation": 524, "test": 624}
    cautions = (
        "The films are those of a set of children from Guangzhou on which `coronahack` draws too.",
        "val was drawn from the original's training films: films of one child may stand in train and val.",
    )
    n_channels = 1
    md5 = {
        28: "28209eda62fecd6e6a2d98b1501bb15f",
        64: "8f4eceb4ccffa70c672198ea285246c6",
        128: "05b46931834c231683c68f40c47b2971",
        224: "d6a3c71de1b945ea11211b03746c1fe1",
    }
    zero_shot_names = ("normal", "pneumonia")
