"""Raw data to Parquet shards that load without this package. Imports nothing heavy until it is used.

Example:
    >>> import climb_hf, datasets, tempfile
    >>> from climb_hf.prepare import prepare
    >>> folder = tempfile.mkdtemp()
    >>> _ = climb_hf.miniature("brain_tumor", f"{folder}/raw", n=16)
    >>> prepare({"brain_tumor": f"{folder}/raw"}, f"{folder}/parquet", synthetic=True)[0].rows
    16
    >>> datasets.load_dataset(f"{folder}/parquet", cache_dir=folder)["train"].features["image"]
    Image(mode='RGB', decode=True)
"""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.prepare.manifest import Prepared, read_manifest, verify
    from climb_hf.prepare.run import prepare
    from climb_hf.prepare.upload import push_prepared

__all__ = ["Prepared", "prepare", "push_prepared", "read_manifest", "verify"]

_LAZY = {
    "Prepared": "climb_hf.prepare.manifest",
    "prepare": "climb_hf.prepare.run",
    "push_prepared": "climb_hf.prepare.upload",
    "read_manifest": "climb_hf.prepare.manifest",
    "verify": "climb_hf.prepare.manifest",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
