"""Graph collections in the text format of TUDataset: an index without edges, and graphs with local node ids.

A collection is `NAME_A.txt`, `NAME_graph_indicator.txt`, `NAME_graph_labels.txt` and optional tables of node and edge
labels and attributes (format: Morris et al., 2020, "TUDataset: A collection of benchmark datasets for learning with
graphs"). Labels and sizes need the two short tables only; edges and features are parsed at the first graph that is
read. Node ids become 0-based within their graph, and every undirected edge stands in both directions once.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError, LayoutError

__all__ = ["TuDataset", "TuGraph", "read_tu_dataset"]

_REQUIRED = ("A", "graph_indicator", "graph_labels")


@dataclass(frozen=True, slots=True, eq=False)
class TuGraph:
    """One graph.

    Args:
        graph_id (`int`): 1-based id in the publisher's files.
        label (`int`): class as the publisher writes it.
        num_nodes (`int`): nodes, isolated ones included.
        edge_index (`np.ndarray`): (2, edges) int64, 0-based; both directions of every edge, by source, then target.
        node_labels (`np.ndarray`, *optional*): (nodes,) int64, or (nodes, k) where the file has k > 1 columns.
        node_attributes (`np.ndarray`, *optional*): (nodes, k) float64.
        edge_labels (`np.ndarray`, *optional*): (edges,) int64, or (edges, k), in the order of `edge_index`.
        edge_attributes (`np.ndarray`, *optional*): (edges, k) float64, in the order of `edge_index`.
    """

    graph_id: int
    label: int
    num_nodes: int
    edge_index: NDArray[np.int64]
    node_labels: NDArray[np.int64] | None = None
    node_attributes: NDArray[np.float64] | None = None
    edge_labels: NDArray[np.int64] | None = None
    edge_attributes: NDArray[np.float64] | None = None

    @property
    def num_isolated_nodes(self) -> int:
        """Number of nodes without an edge."""
        return self.num_nodes - len(np.unique(self.edge_index[0]))


class TuDataset:
    """A collection of graphs; tables are parsed when they are first needed.

    Args:
        folder (`str` or `Path`): holds the files, or `NAME/`, `raw/` or `NAME/raw/` with them.
        name (`str`): name of the collection and prefix of its files, such as `"PROTEINS"`.

    Raises:
        LayoutError: the three files that every collection has are in none of these folders.
    """

    def __init__(self, folder: str | Path, name: str) -> None:
        self.name = name
        self.folder = _find_folder(Path(folder), name)

    def __len__(self) -> int:
        return len(self.graph_labels)

    def __iter__(self) -> Iterator[TuGraph]:
        return (self.graph(i) for i in range(len(self)))

    @cached_property
    def graph_labels(self) -> NDArray[np.int64]:
        """(graphs,) int64: the class of each graph as the publisher writes it."""
        return self._table("graph_labels", np.int64, columns=1)[:, 0]

    @cached_property
    def num_nodes(self) -> NDArray[np.int64]:
        """(graphs,) int64: nodes of each graph, isolated ones included."""
        return np.bincount(self._indicator, minlength=len(self))

    @cached_property
    def edge_counts(self) -> dict[str, int]:
        """What was found in `NAME_A.txt`.

        `lines`; `edges` (undirected, handed out in both directions); `self_loops` and `duplicates` that were dropped;
        `one_way`: edges stated in one direction only, whose other direction was added.
        """
        return self._edges[3]

    def graph(self, index: int) -> TuGraph:
        """Give one graph.

        Args:
            index (`int`): 0-based position, `graph_id - 1`; negative ones count from the end.

        Returns:
            [`TuGraph`]

        Raises:
            IndexError: there is no such graph.
            CorruptFileError: a table is damaged or contradicts another.
        """
        i = range(len(self))[index]
        source, target, lines, _ = self._edges
        first, last = self._node_start[i : i + 2].tolist()
        begin, end = self._edge_start[i : i + 2].tolist()
        at = lines[begin:end]
        nodes, edges = self._node_tables, self._edge_tables
        return TuGraph(
            graph_id=i + 1,
            label=int(self.graph_labels[i]),
            num_nodes=last - first,
            edge_index=np.stack([source[begin:end], target[begin:end]]) - first,
            node_labels=None if nodes[0] is None else nodes[0][first:last].copy(),
            node_attributes=None if nodes[1] is None else nodes[1][first:last].copy(),
            edge_labels=None if edges[0] is None else edges[0][at],
            edge_attributes=None if edges[1] is None else edges[1][at],
        )

    @cached_property
    def _indicator(self) -> NDArray[np.int64]:
        """(nodes,) int64: 0-based graph of each node, ascending without gaps."""
        graphs = self._table("graph_indicator", np.int64, columns=1)[:, 0]
        file, total = self._path("graph_indicator"), len(self)
        steps = np.diff(graphs, prepend=0)
        bad = (steps < 0) | (steps > 1)
        bad[0] = steps[0] != 1
        if bad.any():
            line = int(bad.argmax())
            raise CorruptFileError(
                f"`{file}`, line {line + 1}: expected graph ids that start at 1 and ascend without gaps, found "
                f"{graphs[line]} after {graphs[line - 1] if line else 'nothing'}. Download the collection again."
            )
        if graphs[-1] != total:
            raise CorruptFileError(
                f"`{file}`, line {len(graphs)}: expected {total} graphs by `{self._path('graph_labels').name}`, found "
                f"{graphs[-1]}. Download the collection again."
            )
        return graphs - 1

    @cached_property
    def _node_start(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.num_nodes)])

    @cached_property
    def _edge_start(self) -> NDArray[np.int64]:
        return np.searchsorted(self._edges[0], self._node_start)

    @cached_property
    def _edges(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], dict[str, int]]:
        """Source and target (0-based, over all graphs) in canonical order, the line each came from, and counts."""
        pairs = self._table("A", np.int64, columns=2, empty=True) - 1
        self._check_edges(pairs)
        n_nodes, n_lines = len(self._indicator), len(pairs)
        kept = np.flatnonzero(pairs[:, 0] != pairs[:, 1])
        forward = pairs[kept, 0] * n_nodes + pairs[kept, 1]
        backward = pairs[kept, 1] * n_nodes + pairs[kept, 0]
        # `unique` keeps the first of equal keys, so a direction that the file states keeps its own line
        keys, first = np.unique(np.concatenate([forward, backward]), return_index=True)
        stated = int((first < len(kept)).sum())
        counts = {
            "lines": n_lines,
            "edges": len(keys) // 2,
            "self_loops": n_lines - len(kept),
            "duplicates": len(kept) - stated,
            "one_way": len(keys) - stated,
        }
        lines = kept[first % len(kept)] if len(kept) else kept
        return keys // n_nodes, keys % n_nodes, lines, counts

    def _check_edges(self, pairs: NDArray[np.int64]) -> None:
        graphs, file = self._indicator, self._path("A")
        outside = ((pairs < 0) | (pairs >= len(graphs))).any(axis=1)
        if outside.any():
            line = int(outside.argmax())
            raise CorruptFileError(
                f"`{file}`, line {line + 1}: expected node ids from 1 to {len(graphs)} (the lines of "
                f"`{self._path('graph_indicator').name}`), found {pairs[line, 0] + 1}, {pairs[line, 1] + 1}. "
                "Download the collection again."
            )
        across = graphs[pairs[:, 0]] != graphs[pairs[:, 1]]
        if across.any():
            line = int(across.argmax())
            raise CorruptFileError(
                f"`{file}`, line {line + 1}: expected an edge within one graph, found {pairs[line, 0] + 1} of graph "
                f"{graphs[pairs[line, 0]] + 1} and {pairs[line, 1] + 1} of graph {graphs[pairs[line, 1]] + 1}. "
                "Download the collection again."
            )

    @cached_property
    def _node_tables(self) -> tuple[NDArray[np.int64] | None, NDArray[np.float64] | None]:
        return self._tables("node", len(self._indicator), "graph_indicator")

    @cached_property
    def _edge_tables(self) -> tuple[NDArray[np.int64] | None, NDArray[np.float64] | None]:
        return self._tables("edge", self.edge_counts["lines"], "A")

    def _tables(
        self, kind: str, length: int, other: str
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.float64] | None]:
        """Read the optional label and attribute tables of nodes or edges, one line per node or edge."""
        tables: list[NDArray | None] = []
        for what, dtype in ((f"{kind}_labels", np.int64), (f"{kind}_attributes", np.float64)):
            path = self._path(what)
            table = self._table(what, dtype, empty=not length) if path.is_file() else None
            if table is not None and len(table) != length:
                raise CorruptFileError(
                    f"`{path}`, line {min(len(table), length) + 1}: expected {length} lines as in "
                    f"`{self._path(other).name}`, found {len(table)}. Download the collection again."
                )
            tables.append(table)
        labels, attributes = tables
        return labels[:, 0] if labels is not None and labels.shape[1] == 1 else labels, attributes

    def _path(self, what: str) -> Path:
        return self.folder / f"{self.name}_{what}.txt"

    def _table(self, what: str, dtype: type, columns: int | None = None, *, empty: bool = False) -> NDArray:
        return _read_numbers(self._path(what), dtype, columns, empty)


def read_tu_dataset(folder: str | Path, name: str) -> TuDataset:
    r"""Open a collection; iterate over the result for its graphs, or use it as an index.

    Args:
        folder (`str` or `Path`): holds the files, or `NAME/`, `raw/` or `NAME/raw/` with them.
        name (`str`): name of the collection and prefix of its files, such as `"PROTEINS"`.

    Returns:
        [`TuDataset`]: an iterable of [`TuGraph`] with `graph_labels`, `num_nodes`, `edge_counts` and `graph(i)`.

    Raises:
        LayoutError: the three files that every collection has are in none of these folders.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for what, text in (("A", "1, 2\n2, 1\n"), ("graph_indicator", "1\n1\n1\n2\n"), ("graph_labels", "5\n6\n")):
        ...     _ = (folder / f"TOY_{what}.txt").write_text(text)
        >>> data = read_tu_dataset(folder, "TOY")
        >>> data.graph_labels.tolist(), data.num_nodes.tolist(), data.graph(0).edge_index.tolist()
        ([5, 6], [3, 1], [[0, 1], [1, 0]])
    """
    return TuDataset(folder, name)


def _find_folder(top: Path, name: str) -> Path:
    places = (top, top / name, top / "raw", top / name / "raw")
    files = [f"{name}_{what}.txt" for what in _REQUIRED]
    present = [[file for file in files if (place / file).is_file()] for place in places]
    for place, found in zip(places, present, strict=True):
        if found == files:
            return place
    best = max(range(len(places)), key=lambda k: len(present[k]))
    missing = [file for file in files if file not in present[best]]
    raise LayoutError(
        f"{name}: expected {', '.join(f'`{file}`' for file in files)} in `{top}`, or in `{name}/`, `raw/` or "
        f"`{name}/raw/` below it; {', '.join(f'`{file}`' for file in missing)} not found. "
        "Unpack the collection again, or pass the folder that holds it as `data_dir`."
    )


def _read_numbers(file: Path, dtype: type, columns: int | None, empty: bool) -> NDArray:
    """Read a table of comma-separated numbers as (lines, columns); every line must be complete, the last one too."""
    try:
        text = file.read_text(encoding="latin-1")
    except FileNotFoundError as error:
        raise CorruptFileError(f"`{file}` has gone. Download the collection again.") from error
    if not text and empty:
        return np.empty((0, columns or 1), dtype=dtype)
    n_lines = text.count("\n")
    if not text.endswith("\n"):
        raise CorruptFileError(
            f"`{file}`, line {n_lines + 1}: expected a line end, found the end of the file: it is truncated. Download "
            "the collection again (or add a line feed, if you know the last number to be complete)."
        )
    if "\n\n" in text or text[0] == "\n":  # `loadtxt` would pass over blank lines
        raise _bad_line(file, text, dtype, columns)
    try:
        table: NDArray = np.loadtxt(io.StringIO(text), dtype=dtype, delimiter=",", comments=None, ndmin=2)
    except ValueError as error:
        raise _bad_line(file, text, dtype, columns) from error
    if table.shape[0] != n_lines or columns not in (None, table.shape[1]):
        raise _bad_line(file, text, dtype, columns)
    return table


def _bad_line(file: Path, text: str, dtype: type, columns: int | None) -> CorruptFileError:
    """Find the first line that is not as many numbers as expected; slow, and only for the message."""
    kind, parse = ("whole numbers", int) if dtype is np.int64 else ("numbers", float)
    lines = text.split("\n")[:-1]
    width = columns or lines[0].count(",") + 1
    for number, line in enumerate(lines, 1):
        cells = line.split(",")
        try:
            good = len([parse(cell) for cell in cells]) == width and "_" not in line
        except ValueError:
            good = False
        if not good:
            return CorruptFileError(
                f"`{file}`, line {number}: expected {width} {kind}, found {line[:80]!r}. "
                "Download the collection again."
            )
    return CorruptFileError(f"`{file}`: expected a table of {kind}, found other text. Download the collection again.")
