"""What an audit found: findings with their pairs, as a table, as JSON and as a page."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from climb_hf.report.tables import format_table

if TYPE_CHECKING:
    from climb_hf.report.html import Picture

__all__ = ["AuditReport", "Finding", "Pair", "RecordName", "Severity"]

Severity = Literal["leak", "warning", "note"]
#: From the worst to the mildest.
SEVERITIES: tuple[Severity, ...] = ("leak", "warning", "note")


@dataclass(frozen=True)
class RecordName:
    """A record as a report names it.

    Args:
        source (`str`): its source.
        split (`str`): its split.
        id (`str`): its id.
        group (`str`): its patient, or other leakage key.
        file (`str`): its main file, relative to the root of the source; `""` for none.
        labels (`tuple[str, ...]`, *optional*): its classes, `None` where they cannot be mapped.
    """

    source: str
    split: str
    id: str
    group: str
    file: str = ""
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Pair:
    """Two records that should not both be there.

    Args:
        first (`RecordName`): the earlier one, such as that of the train split.
        second (`RecordName`): the later one.
        distance (`int`, *optional*): bits in which the codes of near duplicates differ.
        similarity (`float`, *optional*): correlation of near duplicates, in [-1, 1].
    """

    first: RecordName
    second: RecordName
    distance: int | None = None
    similarity: float | None = None


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Args:
        check (`str`): `"groups"`, `"identical"`, `"near"`, `"patients"`, `"labels"`, `"classes"`, `"values"` or
            `"files"`.
        severity (`str`): `"leak"`: a score on the later split is not what it seems; `"warning"`; `"note"`.
        where (`str`): the source and splits, such as `"brain_tumor: train, test"`.
        count (`int`): records concerned; of the later split where there are two.
        text (`str`): what was found, and what to do.
        ids (`tuple[str, ...]`): the records concerned, all of them.
        pairs (`tuple[Pair, ...]`): examples, each with its partner, the nearest first.
    """

    check: str
    severity: Severity
    where: str
    count: int
    text: str
    ids: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()


@dataclass
class AuditReport:
    """The result of `climb_hf.audit`.

    Args:
        sources (`list[dict]`): one row per source and split: `source`, `split`, `records`, `groups`.
        findings (`list[Finding]`): the worst first.
        compared (`list[dict]`): what was compared how: `what`, `count`.
        settings (`dict`): the arguments that the result depends on.
        versions (`dict[str, str]`): of the packages.
        withheld (`dict[str, str]`): sources whose pictures a page leaves out unless it is told otherwise, and why.
    """

    sources: list[dict[str, Any]]
    findings: list[Finding]
    compared: list[dict[str, Any]]
    settings: dict[str, Any]
    versions: dict[str, str]
    withheld: dict[str, str] = field(default_factory=dict)
    _draw: Callable[[Pair], "Picture | None"] | None = field(default=None, repr=False, compare=False)

    def worst(self) -> Severity | None:
        """Return the worst severity among the findings, `None` without any."""
        found = {finding.severity for finding in self.findings}
        return next((severity for severity in SEVERITIES if severity in found), None)

    def select(self, check: str, severity: Severity | None = None) -> list[Finding]:
        """Return the findings of one check.

        Args:
            check (`str`): see `Finding`.
            severity (`str`, *optional*): only these.
        """
        return [f for f in self.findings if f.check == check and severity in (None, f.severity)]

    def rows(self) -> list[dict[str, object]]:
        """Return one row per finding, for tables."""
        return [
            {"severity": f.severity, "check": f.check, "where": f.where, "records": f.count, "finding": f.text}
            for f in self.findings
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values; no local path is among them."""
        names = ("sources", "compared", "settings", "versions", "withheld")
        return {
            **{name: getattr(self, name) for name in names},
            "findings": [asdict(finding) for finding in self.findings],
        }

    def __str__(self) -> str:
        table = format_table(self.rows()) if self.findings else "nothing found"
        return f"{format_table(self.sources)}\n\n{format_table(self.compared)}\n\n{table}"

    def write_json(self, path: str | Path) -> Path:
        """Write everything as one JSON object.

        Args:
            path (`str` or `Path`): the file; folders are made.

        Returns:
            `Path`: the file.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    def write_html(
        self, path: str | Path, *, thumbnails: bool | None = None, max_pictures: int = 24, notice: str = ""
    ) -> Path:
        """Write a self-contained page with the offending pairs side by side.

        Args:
            path (`str` or `Path`): the file; folders are made.
            thumbnails (`bool`, *optional*): show pictures and signals. By default only those of sources that may be
                redistributed and need no agreement; the page says which were left out. `True` shows all of them: such
                a page must not leave the machine. `False` shows none.
            max_pictures (`int`, *optional*, defaults to `24`): pairs shown per leak or warning.
            notice (`str`, *optional*): a warning above everything, such as that the data is synthetic.

        Returns:
            `Path`: the file.
        """
        from climb_hf.report.audits import write_audit_page

        return write_audit_page(
            self, path, thumbnails=thumbnails, max_pictures=max_pictures, notice=notice, draw=self._draw
        )

    def hides(self, names: Sequence[str], thumbnails: bool | None) -> bool:
        """Tell whether pictures of these sources are left out of a page."""
        return thumbnails is False or (thumbnails is None and any(name in self.withheld for name in names))


def sort_findings(findings: Sequence[Finding], order: Mapping[str, int]) -> list[Finding]:
    """Return findings from the worst to the mildest, checks in a fixed order, the larger first."""
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), order[f.check], -f.count, f.where))
