"""What GEO states of a sample, under the same keys for data sets and series."""

import re
from typing import Any

from climb_hf.readers.soft import GeoHeader

__all__ = ["CATEGORIES", "sample_metadata", "series_of"]

#: Subset types in the order in which the questions of the CLIMB paper look for one.
CATEGORIES = ("cell type", "strain", "disease state", "genotype/variation", "tissue", "agent")
_DESCRIPTION = re.compile(r"(?:Value for \w+: )?(?P<title>.*?)(?:; src: (?P<source>.*))?")


def series_of(accession: str, header: GeoHeader) -> str:
    """Return the series a file belongs to.

    Args:
        accession (`str`): of the file, such as `"GDS507"` or `"GSE781-GPL97"`.
        header (`GeoHeader`): its header.

    Returns:
        `str`: such as `"GSE781"`; a data set that names no series stands for itself.
    """
    stated = header.first("reference_series") if header.kind == "GDS" else accession.partition("-")[0]
    return stated or accession


def sample_metadata(accession: str, header: GeoHeader, sample: str) -> dict[str, Any]:
    """Return the metadata of a sample.

    Args:
        accession (`str`): of the file.
        header (`GeoHeader`): its header.
        sample (`str`): one of the header's samples.

    Returns:
        `dict`: JSON values; `subsets` maps curated subset types to descriptions, `characteristics` the submitter's
        keys (lower case) to values; `category` is the subset that the CLIMB paper's questions ask for, with the
        choices of its data set, without the paper's special rules for tissue and agent.
    """
    values = header.samples[sample]
    stated = {key: texts[0] for key, texts in values.items() if texts and texts[0]}
    match = _DESCRIPTION.fullmatch(stated.get("description", ""))
    characteristics: dict[str, str] = {}
    for text in values.get("characteristics_ch1", ()):
        key, colon, value = text.partition(":")
        if colon:
            characteristics.setdefault(key.strip().lower(), value.strip())
    subsets, is_set = header.subsets_of(sample), header.kind == "GDS"
    kind = next((kind for kind in CATEGORIES if kind in subsets), None)
    choices = list(dict.fromkeys(subset["description"] for subset in header.subsets if subset["type"] == kind))
    return {
        "dataset": accession if is_set else None,
        "series": series_of(accession, header),
        "sample": sample,
        "platform": header.first("platform") or stated.get("platform_id") or header.first("platform_id"),
        "dataset_title": header.first("title"),
        "pubmed_id": header.first("pubmed_id"),
        "organism": header.first("sample_organism") or stated.get("organism_ch1"),
        "value_type": header.first("value_type"),
        "sample_type": header.first("sample_type") or stated.get("molecule_ch1"),
        "title": (match and match["title"]) or stated.get("title"),
        "source": (match and match["source"]) or stated.get("source_name_ch1"),
        "subsets": subsets,
        "characteristics": characteristics,
        "category": None if kind is None else {"type": kind, "value": subsets[kind], "choices": choices},
        "update_date": header.first("update_date" if is_set else "last_update_date"),
    }
