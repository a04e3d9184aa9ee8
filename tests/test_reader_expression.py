"""Wide matrices, GEO's formats, large JSON arrays, Arrow columns: values against pandas, damage, absurd input."""

import gzip
import json
import tracemalloc

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import climb_hf
from climb_hf.arrow_columns import ArrowFeatures, arrow_values_kept
from climb_hf.errors import CorruptFileError, SchemaError
from climb_hf.readers.expression import merge_genes, parse_matrix, read_matrix_file
from climb_hf.readers.json_rows import iter_json_rows, read_json_row
from climb_hf.readers.linked_groups import linked_groups
from climb_hf.readers.soft import geo_accession, read_geo_header, read_geo_matrix

HEADER = ["GeneID", "Gene Name", "g1", "g2"]


def parse(text, **options):
    return parse_matrix(
        pa.py_buffer(text.encode()), HEADER, name="m.tsv", id_column=0, samples=HEADER[2:], **options
    )  # fmt: skip


# ---- wide matrices


def test_a_matrix_equals_pandas(tmp_path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.gamma(2, 100, (500, 30)).round(3), columns=[f"s{i}" for i in range(30)])
    frame.insert(0, "Gene ID", [f"ENSG{i}" for i in range(500)])
    frame.iloc[3, 4] = np.nan
    frame.to_csv(tmp_path / "m.tsv", sep="\t", index=False, na_rep="NA")
    matrix = read_matrix_file(tmp_path / "m.tsv", id_column=0, first_value=1)
    assert matrix.samples == tuple(frame.columns[1:])
    assert matrix.genes.to_pylist() == frame["Gene ID"].tolist()
    np.testing.assert_array_equal(matrix.values, frame.iloc[:, 1:].to_numpy(np.float32).T)
    assert matrix.values.flags["C_CONTIGUOUS"]
    some = read_matrix_file(tmp_path / "m.tsv", id_column=0, first_value=1, columns=["s7", "s2"])
    np.testing.assert_array_equal(some.values, matrix.values[[7, 2]])


def test_medians_of_quartiles_single_numbers_and_missing_cells():
    matrix = parse("a\tA\t1,2,3,4,5\t7\nb\t\tNA\t-\nc\tC\tNA,NA,NA,NA,NA\t0,0,0.5,1,9\n", quartiles=True)
    np.testing.assert_array_equal(matrix.values, np.array([[3, np.nan, np.nan], [7, np.nan, 0.5]], np.float32))


def test_a_gene_called_na_is_a_gene_and_infinite_is_a_number():
    matrix = parse("NA\tx\tinf\t-inf\nnull\ty\t1\tnull\n")
    assert matrix.genes.to_pylist() == ["NA", "null"]
    np.testing.assert_array_equal(matrix.values, np.array([[np.inf, 1], [-np.inf, np.nan]], np.float32))


def test_lines_of_one_gene_are_averaged_without_missing_values():
    matrix = parse("b\t\t1\t8\na\t\t5\tNA\nb\t\t4\tNA\n\t\t9\t9\na\t\t7\tNA\n")
    assert matrix.genes.to_pylist() == ["b", "a"]
    np.testing.assert_array_equal(matrix.values, np.array([[2.5, 6], [8, np.nan]], np.float32))
    assert (matrix.n_merged, matrix.n_unnamed) == (2, 1)
    untouched = np.ones((2, 3), np.float32)
    assert merge_genes(pa.array(["a", "b", "c"]), ("s", "t"), untouched).values is untouched


@pytest.mark.parametrize("quartiles", [False, True])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tA\t1\t2\nb\tB\tfoo\t3\n", r"line 3: .*foo"),
        ("a\tA\t1\t2\nb\tB\t3\n", r"line 3: Expected 4 columns, got 3"),
        ("a\tA\t1\t2\t3\n", r"line 2: Expected 4 columns, got 5"),
        ("a\tA\t1,2\t3\n", r"line 2: .*1,2"),
        ("a\tA\t1,2,x,4,5\t3\n", r"line 2: .*1,2,x,4,5"),
    ],
)
def test_a_damaged_line_is_named(text, message, quartiles):
    with pytest.raises(CorruptFileError, match=message):
        parse(text, quartiles=quartiles)


def test_cut_off_empty_and_odd_files_are_refused(tmp_path):
    file = tmp_path / "m.tsv"
    for content, message in (
        (b"", "0 bytes"), (b"GeneID\tg1", "header line"), (b"GeneID\tg1\na\t12", "cut off"),
        (b"GeneID\xff\tg1\na\t1\n", "UTF-8"), (b"GeneID\tg1\n\xff\t1\n", "line 2: .*UTF8"),
    ):  # fmt: skip
        file.write_bytes(content)
        with pytest.raises(CorruptFileError, match=message):
            read_matrix_file(file, id_column=0, first_value=1)
    file.write_bytes(b"GeneID\tg1\tg1\na\t1\t2\n")
    with pytest.raises(SchemaError, match="`g1` stands more than once"):
        read_matrix_file(file, id_column=0, first_value=1)
    file.write_bytes(b"GeneID\tg1\r\na\t1\r\n")
    assert read_matrix_file(file, id_column=0, first_value=1).values.tolist() == [[1.0]]
    with pytest.raises(SchemaError, match="`g9` is missing"):
        read_matrix_file(file, id_column=0, first_value=1, columns=["g9"])


def test_a_row_longer_than_a_block_is_read(tmp_path):
    names = [f"s{i}" for i in range(300_000)]
    line = "\t".join(["gene", *["1234567.125"] * len(names)])
    (tmp_path / "wide.tsv").write_text("\t".join(["id", *names]) + f"\n{line}\n{line.replace('gene', 'other')}\n")
    matrix = read_matrix_file(tmp_path / "wide.tsv", id_column=0, first_value=1, columns=["s0", "s299999"])
    assert matrix.values.tolist() == [[1234567.125] * 2] * 2


def test_a_row_makes_no_object_per_gene():
    n = 60_000
    matrix = merge_genes(pa.array([f"ENSG{i:011d}" for i in range(n)]), ("s",), np.ones((1, n), np.float32))
    features = ArrowFeatures(
        {"genes": datasets.List(datasets.Value("string")), "expression": datasets.List(datasets.Value("float32"))}
    )
    features.encode_example(matrix.columns("s"))
    tracemalloc.start()
    example = features.encode_example(matrix.columns("s"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000, "a list of 60,000 pointers alone has 480,000 bytes"
    assert len(example["genes"][0]) == len(example["expression"][0]) == n
    with pytest.raises(SchemaError, match="`t`"):
        matrix.columns("t")


def test_features_of_a_builder_are_put_back():
    info = datasets.DatasetInfo(features=datasets.Features({"a": datasets.Value("int64")}))

    def fail():
        with arrow_values_kept(info):
            assert isinstance(info.features, ArrowFeatures)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert type(info.features) is datasets.Features
    assert ArrowFeatures(info.features).encode_example({"a": 3}) == {"a": 3}


# ---- GEO


@pytest.fixture
def geo(miniatures, tmp_path):
    folder, expected = miniatures.copy("geo", tmp_path / "geo", layout="flat")
    return folder, expected


def test_a_header_is_read_without_the_table(geo):
    folder, _ = geo
    file = folder / "GDS4001.soft"
    header = read_geo_header(file)
    assert header.first("title") == "Synthetic carcinoma (GPL97, a = b)"
    assert header.first("description") == "Synthetic values; café"
    assert header.first("order") is None
    assert header.first("platform") == "GPL97", "the second block must not lose the first"
    assert header.subsets_of("GSM10001") == {
        "disease state": "normal", "individual": "000", "gender": "male", "age": "41 y",
    }  # fmt: skip
    text = file.read_bytes()
    file.write_bytes(text[: text.index(b"200003_s_at")])
    assert read_geo_header(file).samples == header.samples
    with pytest.raises(CorruptFileError, match=r"dataset_table_end.*cut off"):
        read_geo_matrix(file)


def test_values_titles_carriage_returns_and_quotes(geo):
    folder, expected = geo
    for truth in expected:
        file = folder / truth.values["file"]
        matrix = read_geo_matrix(file)
        row = matrix.samples.index(truth.id.partition("/")[2])
        assert matrix.genes.to_pylist() == list(truth.values["genes"])
        np.testing.assert_array_equal(matrix.values[row], np.array(truth.values["expression"], np.float32))
    header = read_geo_header(folder / "GSE9005_series_matrix.txt")
    assert header.attributes["summary"] == ["first line\r second line", "more"]
    assert header.first("title") == 'Synthetic "series" GSE9005'


def test_symbols_are_averaged_and_controls_dropped(geo):
    folder, _ = geo
    probes, symbols = (read_geo_matrix(folder / "GDS4001.soft", ids) for ids in ("probe", "symbol"))
    assert symbols.genes.to_pylist() == [f"GENE{i}" for i in range(30)]
    np.testing.assert_array_equal(symbols.values[:, 0], probes.values[:, :2].mean(axis=1))
    with pytest.raises(SchemaError, match="IDENTIFIER"):
        read_geo_matrix(folder / "GSE9005_series_matrix.txt", "symbol")


def test_damage_of_geo_files_is_named(geo, caplog):
    folder, _ = geo
    file = folder / "GDS4001.soft"
    good = file.read_bytes()
    lines = good.split(b"\n")
    place = next(i for i, line in enumerate(lines) if line.startswith(b"200002_s_at"))
    cells = lines[place].split(b"\t")
    for line in (b"\t".join(cells[:-1]), b"\t".join([*cells[:-1], b"4x2"])):
        file.write_bytes(b"\n".join([*lines[:place], line, *lines[place + 1 :]]))
        with pytest.raises(CorruptFileError, match=rf"GDS4001.soft`, line {place + 1}"):
            read_geo_matrix(file)
    file.write_bytes(b"\n".join([*lines[:place], *lines[place + 1 :]]))
    read_geo_matrix(file)
    assert "states a feature_count of 64, the table has 63" in caplog.text
    packed = folder / "GDS4001.soft.gz"
    whole = gzip.compress(good)
    for content in (whole[: len(whole) * 6 // 10], whole[:-6], whole[:-8] + b"\0" * 8, good, b""):
        packed.write_bytes(content)
        with pytest.raises(CorruptFileError, match=r"GDS4001.soft.gz"):
            read_geo_matrix(packed)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0" * 200, "dataset_table_begin"),
        (b"!dataset_table_begin\nID_REF\tVALUE\n1\t2\n!dataset_table_end\n", "columns of samples"),
        (b"!dataset_table_begin\nID_REF\tIDENTIFIER\tGSM1\n!dataset_table_end\n", "empty one"),
        (
            b"^SUBSET\n!subset_dataset\n!dataset_\n#GSM\n!dataset_table_begin\nID_REF\tGSM1\na\t1\n",
            "dataset_table_end",
        ),
    ],
)
def test_absurd_soft_files_are_refused(tmp_path, content, message):
    file = tmp_path / "GDS1.soft"
    file.write_bytes(content)
    with pytest.raises(CorruptFileError, match=message):
        read_geo_matrix(file)


def test_a_sample_that_stands_twice_is_refused(tmp_path):
    file = tmp_path / "GDS1.soft"
    file.write_bytes(b"!dataset_table_begin\nID_REF\tGSM1\tGSM1\na\t1\t2\n!dataset_table_end\n")
    with pytest.raises(SchemaError, match="`GSM1` stands more than once"):
        read_geo_header(file)


def test_accessions_of_file_names():
    names = {
        "GDS507.soft.gz": "GDS507", "gds507.soft": "GDS507", "GSE1_series_matrix.txt.gz": "GSE1",
        "GSE1-GPL96_series_matrix.txt": "GSE1-GPL96", "GDS507_full.soft.gz": None, "GSE1_family.soft.gz": None,
        "._GDS507.soft.gz": None, "GPL97.annot.gz": None,
    }  # fmt: skip
    assert {name: geo_accession(name) for name in names} == names


def test_real_file(real_dir):
    matrix = read_geo_matrix(real_dir / "geo" / "GDS507.soft.gz")
    assert matrix.values.shape == (17, 22645)
    assert len(matrix.genes.unique()) == 22645
    assert (matrix.values.min(), matrix.values.max()) == (np.float32(0.3), np.float32(184913.3))
    assert not np.isnan(matrix.values).any()
    first = dict(zip(matrix.samples, matrix.values[:, 0].tolist(), strict=True))
    assert (first["GSM11815"], first["GSM11832"], first["GSM12448"]) == pytest.approx((4254.0, 5298.2, 3482.1))
    symbols = read_geo_matrix(real_dir / "geo" / "GDS507.soft.gz", "symbol")
    assert len(symbols.genes) == 17953 - 1  # `--Control` is no gene


# ---- JSON arrays


@pytest.mark.parametrize("options", [{}, {"indent": 4, "ensure_ascii": False}, {"ensure_ascii": False}])
@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
def test_rows_of_an_array_equal_json(tmp_path, options, chunk):
    rows = [{"t": 'é"\\😀' * (i % 5), "n": -1.5e-7, "l": [True, None, []]} for i in range(20)] + [
        5,
        "x",
        None,
        [],
        -17,
    ]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows, **options), encoding="utf-8")
    found = list(iter_json_rows(file, chunk))
    assert [value for *_, value in found] == rows
    assert [read_json_row(file, start, end) for start, end, _ in found] == rows


def test_every_cut_is_found_and_damage_is_named(tmp_path):
    file = tmp_path / "rows.json"
    content = json.dumps([{"id": i, "t": "ab é" * 3} for i in range(9)], ensure_ascii=False).encode()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(CorruptFileError, match=r"rows\.json"):
            list(iter_json_rows(file, 16))
    for bad, message in (
        (b'{"a": 1}', "JSON array"), (b"[1 2]", "byte 3"), (b"[1,]", "byte 3"), (b'["\xff"]', "UTF-8"),
        (b'[{"a":1},{"a" 2}]' + b" " * 99, "byte 9"),
    ):  # fmt: skip
        file.write_bytes(bad)
        with pytest.raises(CorruptFileError, match=message):
            list(iter_json_rows(file))
    file.write_bytes(b"\xef\xbb\xbf [ ]\n")
    assert list(iter_json_rows(file)) == []
    file.write_bytes(b"[1, 2]")
    with pytest.raises(CorruptFileError, match="byte 5"):
        read_json_row(file, 5, 9)


def test_memory_stays_far_below_the_file(tmp_path):
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{"id": i, "text": "a sentence " * 200} for i in range(10_000)], indent=4))
    tracemalloc.start()
    assert sum(1 for _ in iter_json_rows(file, 1 << 20)) == 10_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < file.stat().st_size / 3


# ---- groups


def test_linked_groups_are_transitive_and_ordered():
    members = {"c": "1", "a": "23", "b": "34", "d": "5", "e": "1", "f": "45", "g": ""}
    assert linked_groups(members) == {"c": "c", "a": "a", "b": "a", "d": "a", "e": "c", "f": "a", "g": "g"}


def test_a_truncated_series_keeps_its_index(miniatures, tmp_path):
    folder, expected = miniatures.copy("geo", tmp_path / "raw")
    file = folder / expected[5].values["file"]
    file.write_bytes(file.read_bytes()[:40])
    dataset = climb_hf.load_dataset("geo", folder, cache_dir=tmp_path / "cache")
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    (entry,) = map(json.loads, log.read_text().splitlines())
    assert (entry["id"], entry["error"]) == (expected[5].id.partition("/")[0], "CorruptFileError")
    assert sum(map(len, dataset.values())) == len(expected) - 1
