"""What may be published: the guard of data sets, and the licence of a model from its data and backbone.

Data is pushed only where the publisher allows copies. Weights are another thing than the data, and sharing them is not
refused; but their licence is never more permissive than what they were made from, and the terms of every source are
stated beside them. `docs/publishing.md` has the rules in prose.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from climb_hf.errors import LicenseError, UnknownSourceError
from climb_hf.registry import get_source

__all__ = [
    "AGREEMENT_LEVELS",
    "LICENSE_FILE",
    "ModelLicence",
    "Terms",
    "check_hosted",
    "check_redistribution",
    "combine_licences",
    "gate_fields",
    "licence_text",
    "terms_of",
]

#: Access levels at which every user signs for the data.
AGREEMENT_LEVELS = ("credentialed", "application", "competition")

#: Licences of the Hub's list that ask for attribution at most, from the least to the most demanding.
_PERMISSIVE = (
    "cc0-1.0", "pddl", "unlicense", "mit", "isc", "bsd-2-clause", "bsd-3-clause", "apache-2.0", "odc-by",
    "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
)  # fmt: skip
#: Licences of the Hub's list that bind derived works to themselves.
_SHARE_ALIKE = (
    "agpl-3.0", "gpl-3.0", "lgpl-3.0", "mpl-2.0", "odbl", "cdla-sharing-1.0", "cc-by-sa-3.0", "cc-by-sa-4.0",
    "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
)  # fmt: skip
#: The rest of what we meet, non-commercial or without derivatives.
_RESTRICTED = (
    "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
)  # fmt: skip
_ON_THE_HUB = frozenset((*_PERMISSIVE, *_SHARE_ALIKE, *_RESTRICTED))
#: SPDX identifiers (lower-case, without `-only` and `-or-later`) that the Hub writes in another way.
_HUB_SPELLING = {"odbl-1.0": "odbl", "odc-by-1.0": "odc-by", "pddl-1.0": "pddl"}

OTHER_NAME = "climb-data-terms"
LICENSE_FILE = "LICENSE.md"
LICENSE_TITLE = "# Terms of the parts"


@dataclass(frozen=True)
class Terms:
    """The terms of one thing a model was made from.

    Args:
        name (`str`): name of the source, or of the base model.
        kind (`str`): `"data"` or `"weights"`.
        license (`str`): SPDX identifier, or what the publisher calls it.
        note (`str`): the clause that matters, `""` where there is none to quote.
        title (`str`): title for people.
        homepage (`str`): where the terms stand, `""` if unknown.
        access (`str`): access level of a source, `"unknown"` for others.
        redistributable (`bool`): whether copies may be passed on.
        cautions (`tuple[str, ...]`): what a user must know before trusting a number.
        citation (`str`): BibTeX entry, `""` if unknown.
    """

    name: str
    kind: Literal["data", "weights"]
    license: str
    note: str = ""
    title: str = ""
    homepage: str = ""
    access: str = "unknown"
    redistributable: bool = False
    cautions: tuple[str, ...] = ()
    citation: str = ""

    @property
    def hub_license(self) -> str | None:
        """The identifier of the licence on the Hub's list, `None` where it is not one that we can combine."""
        spelled = re.sub(r"-(only|or-later)$", "", self.license.strip().lower())
        spelled = _HUB_SPELLING.get(spelled, spelled)
        return spelled if spelled in _ON_THE_HUB else None


def terms_of(name: str) -> Terms:
    """Return the terms of a source; a name that no source has gets unknown terms.

    Args:
        name (`str`): name of a source.

    Returns:
        `Terms`: of the registered source, or with the licence `"unknown"` (a model may be trained on one's own data).

    Example:
        >>> terms_of("ptbxl").hub_license
        'cc-by-4.0'
    """
    try:
        source = get_source(name)
    except UnknownSourceError:
        note = "not a registered source: its terms are unknown to climb-hf"
        return Terms(name, "data", "unknown", note, title=name)
    return Terms(
        name=name,
        kind="data",
        license=source.license,
        note=source.license_note,
        title=source.title,
        homepage=source.homepage,
        access=source.access,
        redistributable=source.redistributable,
        cautions=tuple(source.cautions),
        citation=source.citation,
    )


def check_redistribution(names: Iterable[str], what: str = "data") -> None:
    """Refuse to publish data whose licence forbids copies.

    Args:
        names (`Iterable[str]`): names of the sources that the data comes from.
        what (`str`, *optional*, defaults to `"data"`): what was to be published, for the message.

    Raises:
        LicenseError: a source does not allow it, or is not registered; names source, licence and clause.

    Example:
        >>> check_redistribution(["ptbxl"])
    """
    refused = [terms for terms in map(terms_of, dict.fromkeys(names)) if not terms.redistributable]
    if not refused:
        return
    reasons = "; ".join(
        f"`{terms.name}` (licence `{terms.license}`: {terms.note.rstrip('.') or 'gives no right to pass copies on'})"
        for terms in refused
    )
    first = refused[0]
    where = f" at {first.homepage}" if first.homepage else ""
    raise LicenseError(
        f"the {what} must not be published, not even in a private repository: {reasons}. Leave these rows out, or "
        f"share code and record ids instead: everyone gets the raw data from its publisher{where}; "
        f"`climb info {first.name}` shows the terms."
    )


def check_hosted(names: Iterable[str], allowed_by: str | None = None) -> None:
    """Refuse to send data that every user signs for to a model on a machine of others.

    Data use agreements of this kind (that of PhysioNet for credentialed data, application forms, competition rules)
    forbid to share the data with third parties, which the operator of an endpoint is. Some agreements admit endpoints
    under conditions (no storage, no review by people); whether yours does is for you to say.

    Args:
        names (`Iterable[str]`): names of the sources.
        allowed_by (`str`, *optional*): the clause or agreement that allows it, in words; it is written into the record
            of the run.

    Raises:
        LicenseError: a source is credentialed, by application, under competition rules, or not registered; names
            source, licence and clause.

    Example:
        >>> check_hosted(["ptbxl"])
        >>> check_hosted(["vindr_cxr"], allowed_by="data use agreement of 2026-01-07, section 4")
    """
    if allowed_by is not None and allowed_by.strip():
        return
    bound = [terms for terms in map(terms_of, dict.fromkeys(names)) if terms.access in (*AGREEMENT_LEVELS, "unknown")]
    if not bound:
        return
    reasons = "; ".join(
        f"`{terms.name}` ({terms.access}, licence `{terms.license}`: "
        f"{terms.note.rstrip('.') or 'the data goes to nobody who has not signed for it'})"
        for terms in bound
    )
    raise LicenseError(
        f"these sources must not be sent to a hosted model: {reasons}. Whoever runs the endpoint would receive the "
        "data. Run an open model on your own machine (without `hosted`), leave the sources out, or, if a written "
        "agreement allows this endpoint, name it with `allowed_by` (`--allowed-by`)."
    )


@dataclass(frozen=True)
class ModelLicence:
    """The licence that a model card states.

    Args:
        license (`str`): identifier of the Hub's list, or `"other"`.
        because (`str`): the reason in one sentence.
    """

    license: str
    because: str

    @property
    def card_fields(self) -> dict[str, str]:
        """The YAML fields: `license`, and for `other` also `license_name` and `license_link`."""
        if self.license != "other":
            return {"license": self.license}
        return {"license": "other", "license_name": OTHER_NAME, "license_link": LICENSE_FILE}


def combine_licences(parts: Sequence[Terms]) -> ModelLicence:
    """Decide the licence of something made from several parts: never more permissive than any of them.

    In this order: a part whose terms are not a licence of the Hub's list (a data use agreement, competition rules, no
    licence at all) makes `other`; so do share-alike licences of two families, or one beside terms that it does not
    admit; a share-alike licence is kept; without derivatives anywhere: no derivatives; non-commercial anywhere:
    non-commercial; else the most demanding of the permissive licences. Of one licence's versions the newest counts.

    Args:
        parts (`Sequence[Terms]`): terms of the data and of the base model.

    Returns:
        `ModelLicence`: `apache-2.0`, the licence of this package, where there are no parts.

    Example:
        >>> parts = [Terms("a", "data", "CC-BY-NC-4.0"), Terms("b", "weights", "Apache-2.0")]
        >>> combine_licences(parts).license
        'cc-by-nc-4.0'
    """
    if not parts:
        return ModelLicence("apache-2.0", "neither data nor pretrained weights went into it")
    if strange := [part for part in parts if part.hub_license is None]:
        named = ", ".join(f"`{part.name}` ({part.license})" for part in strange)
        return ModelLicence("other", f"not under a licence of the Hub's list: {named}")
    licences = {part.hub_license: part.name for part in parts if part.hub_license}
    decided = _decide(sorted(licences))
    if decided is None or decided not in _ON_THE_HUB:
        named = ", ".join(f"`{name}` ({licence})" for licence, name in sorted(licences.items()))
        return ModelLicence("other", f"no single licence meets the terms of all of these: {named}")
    if decided in licences:
        return ModelLicence(decided, f"the most restrictive of what went into it, that of `{licences[decided]}`")
    return ModelLicence(decided, "the restrictions of all that went into it together")


def gate_fields(parts: Sequence[Terms]) -> dict[str, Any]:
    """Return the card fields that make whoever asks for the data accept its conditions first.

    Gating never makes data publishable that may not be passed on: `check_redistribution` comes before it.

    Args:
        parts (`Sequence[Terms]`): terms of the sources, all of which may be passed on.

    Returns:
        `dict`: `extra_gated_heading`, `extra_gated_prompt`, `extra_gated_fields` and `extra_gated_button_content`;
        empty where the licences ask for attribution at most.

    Example:
        >>> list(gate_fields([terms_of("ham10000")])["extra_gated_fields"])[0]
        'I use the data for non-commercial purposes only'
        >>> gate_fields([terms_of("ptbxl")])
        {}
    """
    bound = [part for part in parts if part.hub_license not in _PERMISSIVE]
    if not bound:
        return {}
    licences = [part.hub_license or "" for part in bound]
    conditions = [
        text
        for text, is_asked in (
            ("I use the data for non-commercial purposes only", any("-nc" in licence for licence in licences)),
            (
                "I pass copies and adaptations on under the same licence only",
                any(licence in _SHARE_ALIKE for licence in licences),
            ),
            ("I pass no adapted copies on", any("-nd" in licence for licence in licences)),
            ("I keep to the terms of every source named above", True),
            ("I make no attempt to find out who a person in the data is", True),
        )
        if is_asked
    ]
    terms = [f"`{part.name}`: {part.license}" + (f" ({part.note.rstrip('.')})" if part.note else "") for part in bound]
    return {
        "extra_gated_heading": "Conditions of use",
        "extra_gated_prompt": f"This data is passed on under the conditions of its publishers. {'; '.join(terms)}.",
        "extra_gated_fields": dict.fromkeys(conditions, "checkbox"),
        "extra_gated_button_content": "Accept the conditions",
    }


def licence_text(parts: Sequence[Terms], licence: ModelLicence) -> str:
    """Return the text of `LICENSE.md`, which a card with `license: other` links to.

    Args:
        parts (`Sequence[Terms]`): terms of the data and of the base model.
        licence (`ModelLicence`): the decision.

    Returns:
        `str`: what binds a user of the weights, part by part.
    """
    lines = [
        LICENSE_TITLE,
        "",
        f"No single licence of the usual list applies: {licence.because}. What is in this repository is passed on "
        "under the terms of everything it was made from, all at once. Where terms differ, the strictest one binds.",
        "",
    ]
    for part in parts:
        home = f" See {part.homepage}." if part.homepage else ""
        note = f" {part.note.rstrip('.')}." if part.note else ""
        what = "data" if part.kind == "data" else "base model"
        lines.append(f"* {part.title or part.name} ({what} `{part.name}`): `{part.license}`.{note}{home}")
    return "\n".join(lines) + "\n"


def _decide(licences: list[str]) -> str | None:
    """The licence for a combination of identifiers of the Hub's list, `None` where there is none."""
    share_alike = [licence for licence in licences if licence in _SHARE_ALIKE]
    no_derivatives = any("-nd-" in licence for licence in licences)
    non_commercial = any("-nc-" in licence for licence in licences)
    if share_alike:
        families = {_family(licence) for licence in share_alike}
        fits = len(families) == 1 and not no_derivatives
        return max(share_alike) if fits and (not non_commercial or "cc-by-nc-sa" in families) else None
    if no_derivatives or non_commercial:
        restricted = [licence for licence in licences if licence in _RESTRICTED]
        parts = ["cc-by", *(["nc"] if non_commercial else []), *(["nd"] if no_derivatives else [])]
        return "-".join([*parts, max(licence.rsplit("-", 1)[1] for licence in restricted)])
    return max(licences, key=_PERMISSIVE.index)


def _family(licence: str) -> str:
    return re.sub(r"-\d.*$", "", licence)
