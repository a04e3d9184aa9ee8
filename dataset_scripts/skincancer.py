"""SkinCancer: HAM10000 with its seven diagnoses, as the evaluation of Open-PMC-18M uses it.

Features, tables, licence: those of `ham10000`, the same pictures. Classes: the publisher's seven, in the order of that
evaluation (nv, mel, bkl, bcc, akiec, vasc, df). Splits: default by lesion (hash), 80/20; `openpmc` is the evaluation's
own, 8,012/2,003, drawn per picture with seed 42 from the table in its published order and kept in the order of the
draw; 721 lesions are on both sides.
"""

import hashlib

from climb_hf.dataset_scripts.ham10000 import N_PUBLISHED, Ham10000, Row

from climb_hf.errors import SplitError
from climb_hf.source import Options

FIRST = "ISIC_0027419"
N_TEST = 2003
#: SHA-256 of the sorted test ids, joined by line feeds.
TEST_DIGEST = "14ffd30bef36994b3a2623d0a5bda3df47debe704d314d5add6ea88a44fa7718"


class SkinCancer(Ham10000):
    """HAM10000 in seven classes."""

    name = "skincancer"
    title = "SkinCancer: HAM10000 with seven diagnoses (Open-PMC)"
    tasks = ("Diagnostics",)
    cautions = (
        "In `split_by='openpmc'` 789 of the 2,003 test pictures show a lesion that train shows too.",
        "The paper's text describes another set (2,357 pictures, 9 classes); its counts and code are HAM10000's.",
        "53 % of the diagnoses rest on histology, others on follow-up, consensus or confocal microscopy.",
        "The same pictures as in `ham10000` (other classes and split), `dermamnist` and ISIC 2019.",
    )
    splits = ("official", "openpmc")
    benchmark = "openpmc"
    zero_shot_names = (
        "Melanocytic Nevi",
        "Melanoma",
        "Benign Keratosis-like Lesions",
        "Basal Cell Carcinoma",
        "Actinic Keratoses and Intraepithelial Carcinoma",
        "Vascular Lesions",
        "Dermatofibroma",
    )
    prompts_end_with_stop = False

    def _train(self, rows: list[Row], options: Options) -> frozenset[str] | None:
        """Return the train images of `openpmc`: scikit-learn's unstratified draw on the rows in file order.

        The rows are put in the order of the draw, the test rows first: the evaluation reads both parts in that order.
        """
        if options.split_by != "openpmc":
            return None
        ids = [row["image_id"] for row in rows]
        if len(ids) != N_PUBLISHED or ids[0] != FIRST:
            raise SplitError(
                f"{self.name}: `split_by='openpmc'` is drawn by the position of the rows, so it needs the untouched "
                f"`HAM10000_metadata` ({N_PUBLISHED} rows, `{FIRST}` first); found {len(ids)} rows, "
                f"`{ids[0] if ids else 'none'}` first. Restore the table of Dataverse or Kaggle; the ISIC challenge's "
                "has another order. `split_by='official'` works with any."
            )
        import numpy as np

        order = np.random.RandomState(42).permutation(len(ids)).tolist()
        test = sorted(ids[at] for at in order[:N_TEST])
        digest = hashlib.sha256("\n".join(test).encode()).hexdigest()
        if digest != TEST_DIGEST:
            raise SplitError(
                f"{self.name}: `split_by='openpmc'` gave other test pictures than the published ones (digest "
                f"{digest[:12]}…, expected {TEST_DIGEST[:12]}…): the rows of the table were reordered or replaced. "
                "Restore `HAM10000_metadata` from Dataverse or Kaggle."
            )
        rows[:] = [rows[at] for at in order]
        return frozenset(ids).difference(test)
