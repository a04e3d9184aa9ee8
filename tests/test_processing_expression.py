"""Expression rows as matrices: alignment of genes, sparse layout, AnnData by a stand-in where it is not installed."""

import sys
from importlib.util import find_spec
from types import ModuleType

import datasets
import numpy as np
import pytest
from scipy.sparse import csr_matrix

import climb_hf
from climb_hf.errors import DependencyError, OptionError, SchemaError
from climb_hf.processing.expression import to_anndata, to_matrix

ROWS = {
    "id": ["x", "y", "z"],
    "genes": [["a", "b", "c"], ["c", "a"], ["d", "c"]],
    "expression": [[1.0, 0.0, 3.0], [4.0, 5.0], [6.0, None]],
}
FEATURES = datasets.Features(
    {
        "id": datasets.Value("string"),
        "genes": datasets.List(datasets.Value("string")),
        "expression": datasets.List(datasets.Value("float32")),
    }
)
NAN = float("nan")


@pytest.fixture
def rows():
    return datasets.Dataset.from_dict(ROWS, features=FEATURES)


@pytest.mark.parametrize("layout", ["dense", "csr"])
@pytest.mark.parametrize(
    ("genes", "names", "values"),
    [
        ("union", "abcd", [[1, 0, 3, NAN], [5, NAN, 4, NAN], [NAN, NAN, NAN, 6]]),
        ("intersection", "c", [[3], [4], [NAN]]),
        (["c", "q", "a"], "cqa", [[3, NAN, 1], [4, NAN, 5], [NAN, NAN, NAN]]),
    ],
)
def test_genes_are_aligned(rows, layout, genes, names, values):
    table = to_matrix(rows, genes=genes, layout=layout)
    assert (table.genes, table.ids) == (tuple(names), ("x", "y", "z"))
    found = table.values.toarray() if layout == "csr" else table.values
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(values, np.float32))


def test_sparse_stores_no_zero(rows):
    table = to_matrix(rows.select([0]), layout="csr")
    assert isinstance(table.values, csr_matrix)
    assert (table.values.nnz, table.values.shape) == (2, (1, 3))


def test_selected_shuffled_and_concatenated_rows(rows):
    both = datasets.concatenate_datasets([rows.select([2, 0]), rows]).select([1, 4, 0])
    table = to_matrix(both, genes=["c", "d"])
    assert table.ids == ("x", "z", "z")
    np.testing.assert_array_equal(table.values, np.array([[3, NAN], [NAN, 6], [NAN, 6]], np.float32))
    empty = to_matrix(rows.select([]))
    assert (empty.values.shape, empty.genes, empty.ids) == ((0, 0), (), ())


def test_wrong_arguments_and_rows_are_refused(rows):
    with pytest.raises(OptionError, match="`layout`"):
        to_matrix(rows, layout="coo")
    with pytest.raises(OptionError, match="`genes`"):
        to_matrix(rows, genes="all")
    with pytest.raises(SchemaError, match="one split"):
        to_matrix(datasets.DatasetDict({"train": rows}))
    with pytest.raises(SchemaError, match="`expression`"):
        to_matrix(rows.remove_columns("expression"))
    twice = {**ROWS, "genes": [["a", "a", "b"], ["c", "a"], ["d", "c"]]}
    with pytest.raises(SchemaError, match="row `x`: expected each gene once"):
        to_matrix(datasets.Dataset.from_dict(twice, features=FEATURES))
    short = {**ROWS, "expression": [[1.0], [4.0, 5.0], [6.0, 7.0]]}
    with pytest.raises(SchemaError, match="row `x`: `expression` has 1 values"):
        to_matrix(datasets.Dataset.from_dict(short, features=FEATURES))


class AnnData:
    """Stand-in that keeps what it is given, where the package is not installed."""

    def __init__(self, X, obs, var):
        self.X, self.obs, self.var = X, obs, var


def test_anndata_of_a_source(miniatures, tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    if find_spec("anndata") is None:
        module = ModuleType("anndata")
        module.AnnData = AnnData
        monkeypatch.setitem(sys.modules, "anndata", module)
    folder, expected = miniatures("geo")
    built = datasets.concatenate_datasets(
        list(climb_hf.load_dataset("geo", folder, cache_dir=tmp_path).values())
    ).filter(lambda row: row["id"].startswith("GDS4001/"))
    found = to_anndata(built, layout="csr")
    truths = {truth.id: truth for truth in expected}
    assert list(found.obs.index) == built["id"][:]
    assert tuple(found.var.index) == expected[0].values["genes"]
    assert found.obs["subsets.disease state"].tolist() == [
        truths[id_].values["subsets"]["disease state"] for id_ in found.obs.index
    ]
    assert found.obs["sex"].tolist() == [truths[id_].values["sex"] for id_ in found.obs.index]
    assert "choices" not in " ".join(found.obs.columns)
    for place, id_ in enumerate(found.obs.index):
        expression = np.array(truths[id_].values["expression"], np.float32)
        np.testing.assert_array_equal(found.X[place].toarray()[0], expression)


def test_anndata_says_what_to_install(rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(DependencyError, match=r"climb-hf\[genomics\]"):
        to_anndata(rows)
