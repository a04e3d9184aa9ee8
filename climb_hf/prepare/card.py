"""The card of a target: `configs` that plain `load_dataset` reads, sizes, sources with their terms."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError
from climb_hf.hub.licence import LICENSE_FILE
from climb_hf.prepare.manifest import Manifest, finished

if TYPE_CHECKING:
    from climb_hf.prepare.stores import Store

__all__ = ["CARD_FILE", "card_fields", "refuse_foreign_card", "write_card"]

CARD_FILE = "README.md"
#: What the card names in place of the shards of a source that is not finished: `load_dataset` says it is not there.
UNFINISHED = "not-finished--run-climb-prepare-again.parquet"


def card_fields(
    manifests: Mapping[str, Manifest], existing: Mapping[str, Any], unfinished: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the YAML fields `configs` and `dataset_info`.

    Args:
        manifests (`Mapping[str, Manifest]`): of the sources that are complete, by name.
        existing (`Mapping`): fields of the card that stands there; configurations of others are kept.
        unfinished (`Iterable[str]`, *optional*): sources that are being prepared; their configuration does not load.

    Returns:
        `dict`: a configuration per source, the default one where there is one only.
    """
    ours = {*manifests, *unfinished}
    others = [entry for entry in _listed(existing.get("configs")) if entry.get("config_name") not in ours]
    sizes = [entry for entry in _listed(existing.get("dataset_info")) if entry.get("config_name") not in ours]
    configs: list[dict[str, Any]] = []
    infos: list[dict[str, Any]] = []
    for name, manifest in sorted(manifests.items()):
        splits = manifest.splits()
        files = [{"split": split, "path": f"{name}/{split}-*.parquet"} for split in splits]
        configs.append({"config_name": name, "data_files": files})
        infos.append(
            {
                "config_name": name,
                "splits": [
                    {"name": split, "num_bytes": counts["memory"], "num_examples": counts["rows"]}
                    for split, counts in splits.items()
                ],
                "download_size": sum(counts["bytes"] for counts in splits.values()),
                "dataset_size": sum(counts["memory"] for counts in splits.values()),
            }
        )
    for name in sorted(ours - set(manifests)):
        configs.append({"config_name": name, "data_files": [{"split": "train", "path": f"{name}/{UNFINISHED}"}]})
    if len(configs) == 1 and not others:
        configs[0]["default"] = True
    for entry in others:
        if configs:
            entry.pop("default", None)
    fields = {"configs": [*others, *configs], "dataset_info": [*sizes, *infos]}
    return {key: value for key, value in fields.items() if value}


def write_card(store: "Store", names: Collection[str], *, synthetic: bool, without: str = "") -> None:
    """Write the card over everything that is complete in a target, and the file of its terms where it needs one.

    Args:
        store (`Store`): the target.
        names (`Collection[str]`): sources that belong to it; those that are not complete do not load.
        synthetic (`bool`): rows are synthetic (miniatures).
        without (`str`, *optional*): one of `names` that is complete and about to be replaced.
    """
    from climb_hf.hub.data import dataset_card

    manifests = {name: manifest for name, manifest in finished(store).items() if name != without}
    existing = existing_fields(store)
    synthetic = synthetic or any(manifest.header["synthetic"] for manifest in manifests.values())
    fields = {
        **existing,
        "configs": [],
        "dataset_info": [],
        **card_fields(manifests, existing, set(names) - set(manifests)),
    }
    fields = {key: value for key, value in fields.items() if value}
    if {entry.get("config_name") for entry in _listed(existing.get("configs"))} <= {*names, *manifests}:
        fields.pop("tags", None)  # all rows are known: that others were synthetic, which have been replaced, is past
    configs = [entry["config_name"] for entry in fields.get("configs", [])]
    shown = "default" if len(configs) < 2 else configs[-1]
    title = getattr(store, "repo_id", None) or store.url.rstrip("/").rsplit("/", 1)[-1]
    card, licence = dataset_card(fields, title, [*names, *manifests], shown, synthetic=synthetic)
    gate(store, card.data.to_dict())
    store.write(CARD_FILE, str(card).encode())
    if licence:
        store.write(LICENSE_FILE, licence.encode())


def gate(store: "Store", fields: Mapping[str, Any]) -> None:
    """Close a repository of the Hub to those who have not accepted the conditions of the card."""
    if store.is_public_hub and fields.get("extra_gated_fields"):
        store.close_to_strangers()


def existing_fields(store: "Store") -> dict[str, Any]:
    """Return the YAML fields of the card in a target, empty where there is none."""
    from huggingface_hub import DatasetCard

    content = store.read(CARD_FILE)
    if content is None:
        return {}
    return DatasetCard(content.decode("utf-8", "replace"), ignore_metadata_errors=True).data.to_dict()


def refuse_foreign_card(store: "Store") -> None:
    """Refuse a folder or bucket whose README is not ours: it would be overwritten.

    Raises:
        OptionError: names the file.
    """
    if not store.is_public_hub and store.read(CARD_FILE) is not None and "climb_sources" not in existing_fields(store):
        raise OptionError(
            f"{store.url}: there is a `{CARD_FILE}` that `climb prepare` did not write. Choose an empty folder, or "
            "one that was prepared before."
        )


def _listed(value: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - YAML
    entries = value if isinstance(value, list) else [value]
    return [dict(entry) for entry in entries if isinstance(entry, Mapping)]
