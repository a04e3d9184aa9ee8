"""A prepared folder to the Hub, without building anything again."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from climb_hf.errors import CorruptFileError, LayoutError
from climb_hf.prepare.manifest import Manifest, finished
from climb_hf.prepare.run import finish, recorded
from climb_hf.prepare.stores import LocalStore

if TYPE_CHECKING:
    from climb_hf.prepare.repository import RepositoryStore

__all__ = ["is_prepared", "push_prepared"]


def is_prepared(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a folder holds prepared sources."""
    return bool(finished(LocalStore(os.fspath(folder))))


def push_prepared(
    folder: str | os.PathLike[str], repo_id: str, *, private: bool = False, revision: str | None = None
) -> str:
    """Publish a folder that `prepare` wrote, if every source in it may be passed on.

    Shards that the repository has already are not uploaded again. The card is uploaded before the data.

    Args:
        folder (`str` or `Path`): a folder that was given to `prepare` as target.
        repo_id (`str`): `"user/name"`.
        private (`bool`, *optional*, defaults to `False`): make the repository private. This is no way round a licence.
        revision (`str`, *optional*): branch to push to.

    Returns:
        `str`: address of the repository.

    Raises:
        LicenseError: a source does not allow copies; names source, licence and clause.
        LayoutError: nothing in the folder is prepared to the end.
        CorruptFileError: a shard is not what its manifest says.
        AccessError: the Hub cannot be reached, or refuses.
    """
    from climb_hf.figures.card import check_panels
    from climb_hf.figures.making import NAME as FIGURES
    from climb_hf.hub.licence import check_redistribution
    from climb_hf.prepare.repository import RepositoryStore

    store = LocalStore(os.fspath(folder))
    manifests = finished(store)
    if not manifests:
        raise LayoutError(
            f"`{folder}` holds no prepared source (`manifest/NAME.jsonl`). Write it with `climb prepare`."
        )
    panels = manifests.get(FIGURES)  # of `climb figures`: they lie alone in their folder, with a licence in every row
    if panels is None:
        check_redistribution(manifests, "prepared shards")
    else:
        check_panels(panels)
    target = RepositoryStore(repo_id, revision, private)
    synthetic = any(manifest.header["synthetic"] for manifest in manifests.values())
    with target.lock():
        _write_card(target, manifests, panels, synthetic=synthetic)
        for name, manifest in manifests.items():
            _push(store, target, name, manifest)
        _write_card(target, manifests, panels, synthetic=synthetic)
    return target.url


def _write_card(
    target: "RepositoryStore", manifests: Mapping[str, Manifest], panels: Manifest | None, *, synthetic: bool
) -> None:
    from climb_hf.figures.card import write_figure_card
    from climb_hf.prepare.card import write_card

    if panels is None:
        write_card(target, manifests, synthetic=synthetic)
    else:
        write_figure_card(target, panels)
    target.flush()


def _push(store: LocalStore, target: "RepositoryStore", name: str, manifest: Manifest) -> None:
    """Upload the shards of one source that are missing."""
    from datasets.utils import tqdm

    there = recorded(target, name)
    missing = [shard for shard in manifest.shards if there.get(shard.path) != shard]
    for shard in tqdm(missing, unit="shard", desc=f"upload {name}"):
        receipt = target.upload(shard.path, store.local_path(shard.path))
        if receipt.upload_info.sha256.hex() != shard.sha256:
            raise CorruptFileError(
                f"`{shard.path}` is not the file that its manifest names (SHA-256 differs). Prepare `{name}` again."
            )
        target.record(shard, receipt)
    stale = [path for path in target.sizes(name) if path not in {shard.path for shard in manifest.shards}]
    target.delete(stale)
    finish(target, manifest)
