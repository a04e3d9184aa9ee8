"""Push a data set to the Hub: only what may be passed on, with the media inside and a card that states the terms.

Pictures are stored in the Parquet files themselves, so they do not depend on the raw folder any more, and DICOM files
become PNG without loss, which the Hub shows and which loads without this package.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import AccessError, OptionError, SchemaError
from climb_hf.hub.card import load_template, tidy
from climb_hf.hub.licence import (
    LICENSE_FILE,
    check_redistribution,
    combine_licences,
    gate_fields,
    licence_text,
    terms_of,
)
from climb_hf.hub.pictures import is_dicom, is_picture, transcode
from climb_hf.hub.push import hub_errors, open_repository
from climb_hf.hub.tables import data_table
from climb_hf.origin import declared_origins

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from huggingface_hub import CommitInfo, DatasetCard, HfApi

__all__ = ["dataset_card", "embeddable", "existing_card", "push_dataset", "sources_of"]

#: The Hub's task of each family.
_TASKS = {
    "image": "image-classification",
    "frames": "video-classification",
    "graph": "graph-ml",
    "expression": "tabular-classification",
    "text-image": "image-to-text",
}


def push_dataset(
    dataset: "Dataset | DatasetDict",
    repo_id: str,
    *,
    config_name: str = "default",
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    max_shard_size: str = "500MB",
    num_proc: int | None = None,
    synthetic: bool = False,
) -> "CommitInfo":
    """Publish a data set whose sources all allow it, as Parquet with the media embedded, with a card.

    Refused is every data set with a row of a source that must not be passed on; `private=True` changes nothing, a
    private repository is a copy on somebody else's machine too.

    Args:
        dataset (`Dataset` or `DatasetDict`): rows in the shared schema; the column `source` says where each is from.
        repo_id (`str`): `"user/name"`; the repository is made if it does not exist.
        config_name (`str`, *optional*, defaults to `"default"`): name of the configuration.
        private (`bool`, *optional*, defaults to `False`): make the repository private.
        token (`str`, *optional*): access token. Defaults to the one of `hf auth login` or `HF_TOKEN`.
        revision (`str`, *optional*): branch to push to.
        max_shard_size (`str`, *optional*, defaults to `"500MB"`): size of a Parquet file at most.
        num_proc (`int`, *optional*): processes that write and upload.
        synthetic (`bool`, *optional*, defaults to `False`): say in the card that rows are synthetic (miniatures). The
            guard of licences stays as it is.

    Returns:
        `CommitInfo`: of the commit with the data.

    Raises:
        LicenseError: a source does not allow copies; names source, licence and clause.
        SchemaError: rows without a source.
        OptionError: a streaming data set, or `private` contradicts the repository.
        AccessError: a raw file has moved, or the Hub cannot be reached or refuses.
    """
    from datasets import Dataset, DatasetDict

    if not isinstance(dataset, Dataset | DatasetDict):
        raise OptionError(
            f"`push_dataset` takes a `Dataset` or `DatasetDict`, found {type(dataset).__name__}: rows that stream "
            "cannot be checked before they are uploaded. Load without `streaming=True`."
        )
    names = sources_of(dataset)
    check_redistribution(names, "rows of this data set")
    splits = (
        dataset
        if isinstance(dataset, DatasetDict)
        else DatasetDict({str(dataset.split or "train").split("[")[0]: dataset})
    )
    ready = DatasetDict({split: embeddable(part) for split, part in splits.items()})
    with hub_errors(repo_id, token):
        api, repo_id = open_repository(repo_id, "dataset", private=private, token=token, revision=revision)
        _upload_card(api, repo_id, names, config_name, revision, synthetic=synthetic)
        return ready.push_to_hub(
            repo_id,
            config_name,
            token=token,
            revision=revision,
            max_shard_size=max_shard_size,
            num_proc=num_proc,
            embed_external_files=True,
            commit_message=f"Upload {config_name} with climb-hf",
        )


def sources_of(dataset: "Dataset | DatasetDict") -> list[str]:
    """Return the sources that rows come from: of the column `source`, and of the build that made the data.

    Args:
        dataset (`Dataset` or `DatasetDict`): the rows.

    Returns:
        `list[str]`: sorted.

    Raises:
        SchemaError: no column `source`, or rows without one.

    Example:
        >>> from datasets import Dataset
        >>> sources_of(Dataset.from_dict({"id": ["1", "2"], "source": ["ptbxl", "georgia"]}))
        ['georgia', 'ptbxl']
    """
    from datasets import Dataset

    names: set[str] = set()
    for split, part in ({"": dataset} if isinstance(dataset, Dataset) else dataset).items():
        where = f"split `{split}`" if split else "the data set"
        if "source" not in part.column_names:
            raise SchemaError(
                f"{where} has no column `source` (found: {', '.join(part.column_names)}), so its licence is unknown. "
                "Keep the columns `id`, `source` and `group` through `map` and `remove_columns`."
            )
        found = part.unique("source")
        if None in found or "" in found:
            raise SchemaError(f"{where} has rows without a `source`, so their licence is unknown. Fill it in.")
        names.update(found)
        names.update(origin.source for origin in declared_origins(part.info))
    return sorted(names)


def embeddable(dataset: "Dataset") -> "Dataset":
    """Return a data set whose pictures can be embedded: every file is there, and DICOM has become PNG.

    Args:
        dataset (`Dataset`): rows with `Image` columns, single or in lists.

    Returns:
        `Dataset`: the same object where nothing had to be changed.

    Raises:
        AccessError: a file that a row names does not exist.
    """
    for column, feature in dataset.features.items():
        if not is_picture(feature):
            continue
        raw = dataset.with_format("arrow")
        has_dicom = False
        for item in _pictures(raw, column):
            if item["bytes"] is None and not Path(item["path"]).is_file():
                raise AccessError(
                    f"column `{column}`: the file `{item['path']}` does not exist any more. Put the raw data back, or "
                    "build the data set again with `data_dir=`."
                )
            has_dicom = has_dicom or is_dicom(item)
        if has_dicom:
            dataset = _as_png(dataset, column)
    return dataset


def _pictures(raw: "Dataset", column: str) -> Iterator[Mapping[str, Any]]:
    """The stored form of every picture of a column, `{"bytes", "path"}`."""
    for batch in raw.select_columns(column).iter(batch_size=64):
        for value in batch[column].to_pylist():
            for item in value if isinstance(value, list) else [value]:
                if item is not None and (item["bytes"] is not None or item["path"] is not None):
                    yield item


def _as_png(dataset: "Dataset", column: str) -> "Dataset":
    """Transcode the DICOM pictures of a column, whatever else is in it."""
    from datasets import Image, List

    feature = dataset.features[column]
    plain = Image(decode=False) if isinstance(feature, Image) else List(Image(decode=False))
    undecoded = dataset.cast_column(column, plain)
    changed = undecoded.map(_transcode_row, fn_kwargs={"column": column}, features=undecoded.features)
    return changed.cast_column(column, feature)


def _transcode_row(row: dict[str, Any], column: str) -> dict[str, Any]:
    value = row[column]
    many = isinstance(value, list)
    items = [transcode(item) for item in (value if many else [value])]
    return {column: items if many else items[0]}


def _upload_card(
    api: "HfApi", repo_id: str, names: list[str], config_name: str, revision: str | None, *, synthetic: bool
) -> None:
    """Put the card before the data, so that the data never stands there without its terms."""
    from huggingface_hub import CommitOperationAdd

    card, licence = dataset_card(
        existing_card(api, repo_id, revision), repo_id, names, config_name, synthetic=synthetic
    )
    if card.data.to_dict().get("extra_gated_fields"):
        api.update_repo_settings(repo_id, repo_type="dataset", gated="auto")  # the fields alone close nothing
    operations = [CommitOperationAdd(path_in_repo="README.md", path_or_fileobj=str(card).encode())]
    if licence:
        operations.append(CommitOperationAdd(path_in_repo=LICENSE_FILE, path_or_fileobj=licence.encode()))
    api.create_commit(
        repo_id, operations, commit_message="State the terms of the data", repo_type="dataset", revision=revision
    )


def existing_card(api: "HfApi", repo_id: str, revision: str | None) -> dict[str, Any]:
    """Return the YAML fields of the card of a repository, empty where it has none."""
    from huggingface_hub import DatasetCard

    if not api.file_exists(repo_id, "README.md", repo_type="dataset", revision=revision):
        return {}
    path = api.hf_hub_download(repo_id, "README.md", repo_type="dataset", revision=revision)
    return DatasetCard(Path(path).read_text(encoding="utf-8"), ignore_metadata_errors=True).data.to_dict()


def dataset_card(
    existing: Mapping[str, Any], repo_id: str, names: Iterable[str], config_name: str, *, synthetic: bool
) -> tuple["DatasetCard", str]:
    """Write the card over all configurations of a data set, and the text of its licence file where it needs one.

    Args:
        existing (`Mapping`): YAML fields that stand there: `configs` and `dataset_info` are kept, the sources of
            `climb_sources` are added to `names`.
        repo_id (`str`): repository or folder that the code example loads; its last part is the title.
        names (`Iterable[str]`): the sources of the rows.
        config_name (`str`): configuration that the code example loads.
        synthetic (`bool`): rows are synthetic (miniatures).

    Returns:
        `tuple[DatasetCard, str]`.
    """
    from huggingface_hub import DatasetCard, DatasetCardData

    from climb_hf.registry import get_source

    earlier = [name for name in existing.get("climb_sources", []) if isinstance(name, str)]
    synthetic = synthetic or "synthetic" in existing.get("tags", [])
    names = sorted({*names, *earlier})
    parts = [terms_of(name) for name in names]
    licence = combine_licences(parts)
    kept = [part.name for part in parts if not part.redistributable]
    known = [get_source(name) for name in names if terms_of(name).access != "unknown"]
    tags = ["climb", "medical", *sorted({source.modality.lower().replace(" ", "-") for source in known})]
    title = repo_id.rsplit("/", 1)[-1]
    fields: dict[str, Any] = {key: existing[key] for key in ("configs", "dataset_info") if key in existing}
    data = DatasetCardData(
        pretty_name=title,
        tags=[*tags, *(["synthetic"] if synthetic else [])],
        task_categories=sorted({_TASKS.get(source.family, "other") for source in known}) or None,
        climb_sources=names,
        **{**fields, **licence.card_fields, **(gate_fields(parts) if not kept else {})},
    )
    card = DatasetCard.from_template(
        data,
        template_str=load_template("dataset_template.md"),
        name=title,
        repo_id=repo_id,
        config="" if config_name == "default" else f', "{config_name}"',
        n_sources=len(names),
        kept=", ".join(f"`{name}`" for name in kept),
        synthetic=synthetic,
        data_table=data_table(parts, {}, counts=False),
        licence=licence,
        cautions="\n".join(f"* `{part.name}`: {caution}" for part in parts for caution in part.cautions),
        citations="\n\n".join(dict.fromkeys(part.citation for part in parts if part.citation)),
    )
    card.text = tidy(card.text)
    return card, licence_text(parts, licence) if licence.license == "other" else ""
