"""RetinaMNIST+: 1,600 fundus photographs with grades of diabetic retinopathy, by Yang et al., 2023.

Features: RGB, centre of the photograph, short side. Classes: the five-step grades 0 to 4, ordered. Splits: the
publisher's. Licence: CC-BY-4.0. See `_medmnist` for what the sets share.
"""

from climb_hf.dataset_scripts._medmnist import MedMnist


class RetinaMnist(MedMnist):
    """RetinaMNIST+."""

    name = "retinamnist"
    title = "RetinaMNIST+: grades of diabetic retinopathy"
    modality = "Fundus"
    domains = ("Ophthalmology",)
    tasks = ("Diagnostics", "Severity Grading")
    published_splits = {"train": 1080, "validation": 120, "test": 400}
    cautions = (
        "The publisher poses it as ordinal regression; the grades are classes here, their number is the raw value.",
        "1,600 photographs in all: intervals are wide.",
    )
    n_channels = 3
    md5 = {
        28: "bd4c0672f1bba3e3a89f0e4e876791e4",
        64: "afda852cc34dcda56f86ad2b2457dbcc",
        128: "e48e916a24454daf90583d4e6efb1a18",
        224: "eae7e3b6f3fcbda4ae613ebdcbe35348",
    }
    zero_shot_names = (
        "no apparent retinopathy",
        "mild NPDR, non-proliferative diabetic retinopathy",
        "moderate NPDR, non-proliferative diabetic retinopathy",
        "severe NPDR, non-proliferative diabetic retinopathy",
        "PDR, proliferative diabetic retinopathy",
    )
