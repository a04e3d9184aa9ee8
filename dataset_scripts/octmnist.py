"""OCTMNIST+: 109,309 optical coherence tomography scans of the retina, by Yang et al., 2023.

Features: grey, centre of the scan, short side. Classes: three diseases and normal. Splits: the publisher's. Licence:
CC-BY-4.0. See `_medmnist` for what the sets share.
"""

from climb_hf.dataset_scripts._medmnist import MedMnist


class OctMnist(MedMnist):
    """OCTMNIST+."""

    name = "octmnist"
    title = "OCTMNIST+: optical coherence tomography of the retina"
    modality = "OCT"
    domains = ("Ophthalmology",)
    tasks = ("Diagnostics",)
    published_splits = {"train": 97477, "validation": 10832, "test": 1000}
    cautions = (
        "val was drawn from the original's training scans: scans of one patient may stand in train and val.",
        "test is the original's balanced set of 1,000 scans, train is far from balanced.",
    )
    n_channels = 1
    md5 = {
        28: "c68d92d5b585d8d81f7112f81e2d0842",
        64: "e229e9440236b774d9f0dfef9d07bdaf",
        128: "0a97e76651ace45c5d943ee3f65b63ae",
        224: "abc493b6d529d5de7569faaef2773ba3",
    }
    zero_shot_names = ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal")
