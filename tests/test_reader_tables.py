import csv
import gzip

import pytest

from climb_hf.errors import AccessError, CorruptFileError, LayoutError, SchemaError
from climb_hf.readers.tables import find_root, find_table, is_junk, read_csv_rows, to_bool, to_float, to_int


def table(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- tables ---


def test_rows_by_name(tmp_path):
    path = table(tmp_path, "b,a\n1,2\n3, 4 \n")
    assert list(read_csv_rows(path, required=("a",))) == [{"b": "1", "a": "2"}, {"b": "3", "a": " 4 "}]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_mark_and_line_ends(tmp_path, mark, end):
    path = table(tmp_path, mark + end.join(["id,°C", "7,µ", "8,x"]).encode())
    assert list(read_csv_rows(path, required=("id", "°C"))) == [{"id": "7", "°C": "µ"}, {"id": "8", "°C": "x"}]


def test_quoted_delimiters_and_line_ends_in_cells_and_header(tmp_path):
    path = table(tmp_path, '"Age\n(years)","scp_codes"\n"6,1","{\'NORM\': 100.0,\n \'SR\': 0.0}"\n"a ""b""",c\n')
    rows = list(read_csv_rows(path, required=("Age\n(years)",)))
    assert rows[0] == {"Age\n(years)": "6,1", "scp_codes": "{'NORM': 100.0,\n 'SR': 0.0}"}
    assert rows[1]["Age\n(years)"] == 'a "b"'


def test_unnamed_index_column_spaces_in_names_and_blank_lines(tmp_path):
    path = table(tmp_path, ", Name ,\nNORM,x,\n\n,,\n")
    rows = list(read_csv_rows(path, required=("Name",)))
    assert [row["Name"] for row in rows] == ["x", ""]
    single = table(tmp_path, ",description\nNORM,normal ECG\n", "s.csv")
    assert list(read_csv_rows(single, required=("",))) == [{"": "NORM", "description": "normal ECG"}]


def test_tabs_and_other_encodings(tmp_path):
    path = table(tmp_path, "id\tnote\n1\tit’s, ok\n".encode("cp1252"))
    assert list(read_csv_rows(path, delimiter="\t", encoding="cp1252")) == [{"id": "1", "note": "it’s, ok"}]
    with pytest.raises(CorruptFileError, match=r"t\.csv`: expected utf-8-sig text, found byte 0x92"):
        list(read_csv_rows(path))


def test_header_only(tmp_path):
    assert list(read_csv_rows(table(tmp_path, "a,b\n"), required=("a",))) == []


def test_compressed_tables_and_their_twins(tmp_path):
    path = table(tmp_path, gzip.compress(b"\xef\xbb\xbfa,b\r\n1,2\r\n"), "x.csv.gz")
    assert list(read_csv_rows(path)) == [{"a": "1", "b": "2"}]
    assert list(read_csv_rows(tmp_path / "x.csv")) == [{"a": "1", "b": "2"}]
    plain = table(tmp_path, "a\n3\n", "y.csv")
    assert list(read_csv_rows(tmp_path / "y.csv.gz")) == [{"a": "3"}]
    assert find_table(tmp_path / "y.csv.gz") == plain
    assert find_table(tmp_path / "z.csv") is None


def test_damaged_compressed_tables(tmp_path):
    text = "a,b\n" + "".join(f"{i},{i * i}\n" for i in range(5000))
    data = gzip.compress(text.encode())
    for damaged in (
        data[:-20],
        data[: len(data) // 2],
        data[:300] + b"\0" * 50 + data[350:],
        b"<html>",
        data[:-8] + b"\0" * 8,
    ):
        path = table(tmp_path, damaged, "x.csv.gz")
        with pytest.raises(CorruptFileError, match=r"x\.csv\.gz`: .*Download it again"):
            list(read_csv_rows(path))


def test_missing_table_lists_the_folder(tmp_path):
    table(tmp_path, "", "other.csv")
    table(tmp_path, "", ".DS_Store")
    with pytest.raises(LayoutError, match=r"`t\.csv` not found in .* \(found 1 entries: other\.csv\)"):
        list(read_csv_rows(tmp_path / "t.csv"))
    with pytest.raises(LayoutError, match="the folder does not exist"):
        list(read_csv_rows(tmp_path / "no" / "t.csv"))


def test_missing_column_names_what_was_found(tmp_path):
    path = table(tmp_path, "Patient_ID,age\n1,2\n")
    with pytest.raises(SchemaError) as caught:
        list(read_csv_rows(path, required=("age", "patient_id")))
    text = str(caught.value)
    assert "column `patient_id` is missing (nearest name: `Patient_ID`); found 2 columns: `Patient_ID`, `age`" in text
    assert "t.csv" in text
    with pytest.raises(SchemaError, match="column `zzz` is missing; found 2"):
        list(read_csv_rows(path, required=("zzz",)))


def test_a_name_that_stands_twice(tmp_path):
    with pytest.raises(SchemaError, match="`a` stands more than once"):
        list(read_csv_rows(table(tmp_path, "a,b,a\n1,2,3\n")))


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_empty_table(tmp_path, content):
    with pytest.raises(CorruptFileError, match="expected a header line"):
        list(read_csv_rows(table(tmp_path, content)))


@pytest.mark.parametrize(
    ("content", "line", "cells"),
    [("a,b\n1,2\n3\n", 3, 1), ("a,b\n1,2,3\n", 2, 3), ('a,b\n"x\ny",2\n5,\n5,6,\n', 5, 3)],
)
def test_ragged_rows_name_the_line(tmp_path, content, line, cells):
    with pytest.raises(SchemaError, match=rf"line {line}: expected 2 cells, found {cells}"):
        list(read_csv_rows(table(tmp_path, content)))


def test_rows_before_a_damaged_one_are_given(tmp_path):
    rows = read_csv_rows(table(tmp_path, "a,b\n1,2\n3\n"))
    assert next(rows) == {"a": "1", "b": "2"}
    with pytest.raises(SchemaError):
        next(rows)


def test_unquoted_commas_of_the_last_column(tmp_path):
    path = table(
        tmp_path, "variable,unit,explanation\npat_sex,,Biological Sex (0=female, 1=male, x)\npat_age,years,\n"
    )
    rows = list(read_csv_rows(path, ragged="last"))
    assert rows[0] == {"variable": "pat_sex", "unit": "", "explanation": "Biological Sex (0=female, 1=male, x)"}
    assert rows[1]["explanation"] == ""
    with pytest.raises(SchemaError, match="line 2: expected 3 cells, found 1"):
        list(read_csv_rows(table(tmp_path, "a,b,c\n1\n"), ragged="last"))


def test_long_cells_where_a_table_has_them(tmp_path):
    path = table(tmp_path, b"a,b\n1," + b"x" * 200000 + b"\n2,y\n")
    rows = read_csv_rows(path, longest_cell=300000)
    usual = csv.field_size_limit()
    assert next(rows) == {"a": "1", "b": "x" * 200000}
    assert csv.field_size_limit() == usual
    assert list(rows) == [{"a": "2", "b": "y"}]
    with pytest.raises(CorruptFileError, match="not a readable table"):
        list(read_csv_rows(path, longest_cell=199999))


def test_endless_cells_are_damage(tmp_path):
    path = table(tmp_path, b"a,b\n1," + b"x" * 200000 + b"\n")
    with pytest.raises(CorruptFileError, match="not a readable table"):
        list(read_csv_rows(path))


def test_real_table_with_unquoted_commas(shared_dir):
    path = next((shared_dir / "real" / "covid_blues").rglob("variable_explanations.csv"), None)
    if path is None:
        pytest.skip("no covid_blues tables")
    rows = {row["variable"]: row for row in read_csv_rows(path, required=("variable", "explanation"), ragged="last")}
    assert "0=female, 1=male" in rows["pat_sex"]["explanation"]


# --- cells ---


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("6", 6.0),
        (" -1.5e1 ", -15.0),
        ("15709.0", 15709.0),
        ("", None),
        (" ", None),
        ("NaN", None),
        ("-nan", None),
        ("NA", None),
    ],
)
def test_to_float(text, value):
    assert to_float(text) == value


@pytest.mark.parametrize("text", ["abc", "1,5", "1_000", "inf", "-Infinity", "0x10", "5 kg", "."])
def test_to_float_refuses_other_texts(text):
    with pytest.raises(SchemaError, match=f"found {text!r}"):
        to_float(text)
    assert to_float(text, strict=False) is None


def test_to_float_with_other_missing_texts():
    assert to_float("-99", missing=("", "-99")) is None
    assert to_float("-99") == -99
    assert to_float("Unknown", missing=("", "Unknown")) is None
    with pytest.raises(SchemaError):
        to_float("NA", missing=("",))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("6", 6),
        ("6.0", 6),
        ("-7", -7),
        ("+7", 7),
        (" 12 ", 12),
        ("1e3", 1000),
        ("9007199254740993", 9007199254740993),
        ("", None),
    ],
)
def test_to_int(text, value):
    result = to_int(text)
    assert result == value
    assert not isinstance(result, float)


@pytest.mark.parametrize("text", ["6.5", "x", "1_0", "٣.5"])
def test_to_int_refuses_other_texts(text):
    with pytest.raises(SchemaError):
        to_int(text)


def test_to_int_missing_texts_win():
    assert to_int("-99", missing=("-99",)) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("True", True),
        ("TRUE", True),
        ("1", True),
        ("1.0", True),
        ("false", False),
        ("0", False),
        ("0.0", False),
        ("", None),
        ("nan", None),
    ],
)
def test_to_bool(text, value):
    assert to_bool(text) is value


def test_to_bool_with_other_texts():
    assert to_bool("UNK", missing=("", "UNK")) is None
    assert to_bool("Y", true=("y",), false=("n",)) is True
    assert to_bool("N", true=("y",), false=("n",)) is False
    for text in ("UNK", "2", "maybe"):
        with pytest.raises(SchemaError, match=f"found {text!r}"):
            to_bool(text)


# --- the root folder ---


def test_is_junk():
    junk = [".DS_Store", "._x.csv", "__MACOSX", "Thumbs.db", "thumbs.DB", "desktop.ini", "Desktop.ini"]
    assert all(map(is_junk, junk))
    assert not any(map(is_junk, ["a.csv", "records500", ".hidden", "_x", "desktop.ini.csv"]))


@pytest.mark.parametrize("inner", [".", "v1", "physionet.org/files", "files/ptb-xl/1.0.3"])
def test_root_or_a_folder_above_it(tmp_path, inner):
    root = tmp_path / inner
    root.mkdir(parents=True, exist_ok=True)
    (root / "table.csv").touch()
    (tmp_path / "other" / "deep").mkdir(parents=True)
    assert find_root(tmp_path, ("table.csv", "records"), "toy") == root
    assert find_root(str(tmp_path), ("absent", "table.csv"), "toy") == root


def test_root_by_pattern_and_nested_marker(tmp_path):
    (tmp_path / "a" / "training" / "g1").mkdir(parents=True)
    (tmp_path / "a" / "training" / "g1" / "HR00001.hea").touch()
    assert find_root(tmp_path, ("HR*.hea",), "toy") == tmp_path / "a" / "training" / "g1"
    assert find_root(tmp_path, ("training/g1",), "toy") == tmp_path / "a"
    assert find_root(tmp_path, ("a/*/g1",), "toy") == tmp_path


def test_shallowest_root_wins_and_junk_is_passed_over(tmp_path):
    for inner in ("__MACOSX", ".cache", "data", "data/copy"):
        (tmp_path / inner).mkdir()
        (tmp_path / inner / "table.csv").touch()
    assert find_root(tmp_path, ("table.csv",), "toy") == tmp_path / "data"


def test_two_roots_of_one_depth(tmp_path):
    for version in ("1.0.1", "1.0.3"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "table.csv").touch()
    with pytest.raises(LayoutError, match=r"marks 2 folders in .* \(`1.0.1`, `1.0.3`\). Pass one of them"):
        find_root(tmp_path, ("table.csv",), "toy")


def test_no_root(tmp_path):
    deep = tmp_path / "top" / "a" / "b" / "c" / "d" / "e"
    deep.mkdir(parents=True)
    (deep / "table.csv").touch()
    for k in range(10):
        (tmp_path / "top" / f"f{k}").touch()
    (tmp_path / "top" / "Thumbs.db").touch()
    with pytest.raises(LayoutError) as caught:
        find_root(tmp_path / "top", ("table.csv", "records"), "toy")
    text = str(caught.value)
    assert text.startswith("toy: `table.csv` or `records` not found in")
    assert "found 11 entries: a, f0, f1, f2, f3, f4, f5, f6, and 3 more" in text
    assert "`climb doctor toy`" in text


def test_a_folder_below_the_root_is_recognised(tmp_path):
    (tmp_path / "table.csv").touch()
    (tmp_path / "records").mkdir()
    with pytest.raises(LayoutError, match=r"the folder is empty\). Its parent .* looks right"):
        find_root(tmp_path / "records", ("table.csv",), "toy")


def test_absent_folder_and_file_for_a_folder(tmp_path):
    with pytest.raises(AccessError, match=r"toy: expected a folder with `table.csv`, but .* does not exist"):
        find_root(tmp_path / "no", ("table.csv",), "toy")
    archive = tmp_path / "toy.zip"
    archive.touch()
    with pytest.raises(LayoutError, match=r"found the file .*toy\.zip`. Unpack it"):
        find_root(archive, ("table.csv",), "toy")


def test_a_table_without_header_line_takes_the_names_given(tmp_path):
    table = tmp_path / "classes.csv"
    table.write_text("b001.tif,Benign\nis042.tif,InSitu\n")
    rows = list(read_csv_rows(table, header=("file", "class"), required=("class",)))
    assert rows == [{"file": "b001.tif", "class": "Benign"}, {"file": "is042.tif", "class": "InSitu"}]
    table.write_text("b001.tif,Benign,1\n")
    with pytest.raises(SchemaError, match="line 1: expected 2 cells, found 3"):
        list(read_csv_rows(table, header=("file", "class")))
