"""Figures of an article in JATS, the XML of PubMed Central: captions, files and the licence.

Parsed as a stream by expat, which expands nothing here: an article that declares an entity is refused, the external
document type that every article names is never opened.
"""

import html
import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from climb_hf.errors import CorruptFileError

__all__ = ["Article", "JatsFigure", "read_article"]

#: More than the longest article of the collection, by far.
MAX_BYTES = 200 << 20
_MAX_DEPTH = 200
_CHUNK = 1 << 18
#: Elements whose text is no text: formulas in TeX, what repeats a formula, descriptions for the blind.
_SILENT = frozenset({"tex-math", "annotation", "alt-text", "long-desc"})
#: A group is a figure too where a graphic stands in it directly.
_FIGURES = ("fig", "fig-group")
_BLOCKS = frozenset({"title", "p", "list-item", "break", "sec", "caption", "label"})
_IDS = ("pmcid", "pmc", "pmcaid", "pmc-uid")


@dataclass
class JatsFigure:
    """A figure as an article declares it.

    Args:
        id (`str`): its id, `""` where it has none.
        label (`str`): such as `"Figure 1"`.
        caption (`str`): title and text, white space joined.
        files (`tuple[str, ...]`): names that its graphics have, often without suffix.
        credit (`str`): permissions and attributions of the figure itself, `""` where it has none.
    """

    id: str = ""
    label: str = ""
    caption: str = ""
    files: tuple[str, ...] = ()
    credit: str = ""


@dataclass
class Article:
    """What is taken from an article.

    Args:
        id (`str`): PMC id with its letters, `""` where the file states none.
        licences (`tuple[str, ...]`): addresses, attributes and sentences of its licence.
        figures (`list[JatsFigure]`): in the order of the text.
    """

    id: str = ""
    licences: tuple[str, ...] = ()
    figures: list[JatsFigure] = field(default_factory=list)


def read_article(path: Path) -> Article:
    """Read the figures of an article.

    Args:
        path (`Path`): a file `.nxml` or `.xml`.

    Returns:
        `Article`.

    Raises:
        CorruptFileError: it is no XML, declares entities, nests without end, or is too large.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.nxml"
        >>> _ = path.write_text("<article><fig id='F1'><caption><p>A <b>CT</b>.</p></caption></fig></article>")
        >>> read_article(path).figures[0].caption
        'A CT.'
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise CorruptFileError(f"`{path.name}`: {size:,} bytes, more than the {MAX_BYTES:,} accepted of an article.")
    reader = _Reader(path.name)
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                reader.parser.Parse(chunk)
        reader.parser.Parse(b"", True)
    except (expat.ExpatError, ValueError) as error:
        if isinstance(error, CorruptFileError):
            raise
        raise CorruptFileError(f"`{path.name}`: not readable as XML ({error}). Fetch the package again.") from error
    return reader.article


class _Reader:
    """Handlers of the parser, and what they have found so far."""

    def __init__(self, name: str) -> None:
        self.article, self._name = Article(), name
        self._path: list[str] = []
        self._figures: list[JatsFigure] = []
        self._firsts: list[int] = []  # how many figures there were when each open one began
        self._captions: list[list[str]] = []
        self._labels: list[list[str]] = []
        self._credits: list[list[str]] = []
        self._texts: dict[str, list[str]] = {"id": [], "licence": []}
        parser = self.parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler, parser.SkippedEntityHandler = self._text, self._skipped
        parser.EntityDeclHandler = self._refuse
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)

    def _refuse(self, *_: object) -> None:
        raise CorruptFileError(
            f"`{self._name}`: declares entities, which no article of PubMed Central does; it is not read."
        )

    def _skipped(self, name: str, is_parameter: bool) -> None:
        if not is_parameter:
            self._text(html.unescape(f"&{name};"))

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.rpartition(" ")[2]
        self._path.append(tag)
        if len(self._path) > _MAX_DEPTH:
            raise CorruptFileError(f"`{self._name}`: elements nested more than {_MAX_DEPTH} deep; it is not read.")
        if tag in _FIGURES:
            self._figures.append(JatsFigure(id=attributes.get("id", "")))
            self._firsts.append(len(self.article.figures))
            for texts in (self._captions, self._labels, self._credits):
                texts.append([])
        elif tag == "graphic" and self._figures:
            name = next((value for key, value in attributes.items() if key.rpartition(" ")[2] == "href"), "")
            if name:
                self._figures[-1].files = (*self._figures[-1].files, name)
        elif tag == "article-id":
            self._texts["id"] = []
            self._is_pmc = attributes.get("pub-id-type") in _IDS
        elif tag in ("license", "license_ref", "ext-link") and self._is_in("license"):
            found = (value for key, value in attributes.items() if key.rpartition(" ")[2] in ("href", "license-type"))
            (self._credits[-1] if self._figures else self._texts["licence"]).extend(f" {text} \0" for text in found)
        if tag in _BLOCKS:
            self._text(" ")

    def _is_in(self, tag: str) -> bool:
        return tag in self._path

    def _text(self, text: str) -> None:
        path = self._path
        if not path or not _SILENT.isdisjoint(path):
            return
        if self._figures:
            if path[-1] == "attrib" or "permissions" in path:
                self._credits[-1].append(text)
            elif "caption" in path:
                self._captions[-1].append(text)
            elif path[-1] == "label" and path[-2] in _FIGURES:
                self._labels[-1].append(text)
        elif "license" in path or path[-1] == "license_ref":
            self._texts["licence"].append(text)
        elif path[-1] == "article-id":
            self._texts["id"].append(text)

    def _end(self, tag: str) -> None:
        tag = tag.rpartition(" ")[2]
        if tag in _BLOCKS:
            self._text(" ")
        self._path.pop()
        if tag in _FIGURES:
            self._end_figure(tag)
        elif tag == "license" and not self._figures:
            self._texts["licence"].append("\0")
        elif tag == "article-id" and self._is_pmc and not self.article.id and "sub-article" not in self._path:
            number = "".join(self._texts["id"]).strip().upper().removeprefix("PMC")
            self.article.id = f"PMC{number}" if number else ""
        elif tag == "article":
            texts = "".join(self._texts["licence"]).split("\0")
            self.article.licences = tuple(filter(None, map(_plain, texts)))

    def _end_figure(self, tag: str) -> None:
        """Note a figure; what is said of a group, credits behind its figures included, is said of each."""
        figure, first = self._figures.pop(), self._firsts.pop()
        own, label, credit = (
            _plain("".join(texts.pop()).replace("\0", " ")) for texts in (self._captions, self._labels, self._credits)
        )
        shared = [text for caption in self._captions for text in caption]
        figure.caption, figure.label, figure.credit = _plain("".join([*shared, " ", own])), label, credit
        for inner in self.article.figures[first:]:
            inner.credit = _plain(f"{credit} {inner.credit}")
        if tag == "fig" or figure.files:
            self.article.figures.append(figure)


def _plain(text: str) -> str:
    """Join white space, and take the blanks away that stand before punctuation where elements ended."""
    return re.sub(r"\s+([.,;])(?=\s|$)", r"\1", re.sub(r"\s+", " ", text)).strip()
