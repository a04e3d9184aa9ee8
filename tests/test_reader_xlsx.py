"""The `.xlsx` reader, on workbooks written part by part as Excel, openpyxl and LibreOffice lay them out."""

import zipfile

import pytest

from climb_hf.errors import CorruptFileError, LayoutError, SchemaError
from climb_hf.readers import xlsx
from climb_hf.readers.xlsx import read_sheet_rows, read_xlsx_rows

HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
LINK = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
STRINGS = ("ID", "Side", "Age", "D1-0001", "L")


def sheet(rows, ns=MAIN):
    return f'{HEAD}<worksheet xmlns="{ns}"><dimension ref="A1:C3"/><sheetData>{rows}</sheetData></worksheet>'


def shared(items):
    return f'{HEAD}<sst xmlns="{MAIN}" count="9" uniqueCount="{len(items)}">{"".join(items)}</sst>'


def workbook(path, rows, *, strings=tuple(f"<si><t>{s}</t></si>" for s in STRINGS), names=("Sheet1",), **parts):
    """Write a workbook; the first sheet holds `rows`, the others are empty."""
    content = {
        "[Content_Types].xml": HEAD + '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "xl/workbook.xml": f'{HEAD}<workbook xmlns="{MAIN}" xmlns:r="{LINK}"><sheets>'
        + "".join(f'<sheet name="{n}" sheetId="{i}" r:id="rId{i}"/>' for i, n in enumerate(names, 1))
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": HEAD + "<Relationships "
        'xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        + "".join(f'<Relationship Id="rId{i}" Target="worksheets/sheet{i}.xml"/>' for i in range(1, len(names) + 1))
        + "</Relationships>",
        "xl/worksheets/sheet1.xml": sheet(rows),
        **({"xl/sharedStrings.xml": shared(strings)} if strings else {}),
        **{name.replace("__", "/") + ".xml": text for name, text in parts.items()},
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in content.items():
            if text is not None:
                archive.writestr(name, text)
    return path


HEADER = (
    '<row r="1" spans="1:3"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c><c r="C1" t="s"><v>2</v></c></row>'
)


def one_row(*cells):
    return HEADER + f'<row r="2">{"".join(cells)}</row>'


def test_shared_strings_inline_strings_and_numbers_by_name(tmp_path):
    rows = (
        HEADER
        + '<row r="2"><c r="A2" s="1" t="s"><v>3</v></c><c r="B2" t="s"><v>4</v></c><c r="C2"><v>44</v></c></row>'
        + '<row r="3"><c r="A3" t="inlineStr"><is><t xml:space="preserve"> D1-0002 </t></is></c>'
        + '<c r="C3" t="n"><v>61.5</v></c></row>'
    )
    path = workbook(tmp_path / "t.xlsx", rows)
    assert list(read_xlsx_rows(path, required=("Age", "ID"))) == [
        {"ID": "D1-0001", "Side": "L", "Age": "44"},
        {"ID": " D1-0002 ", "Side": "", "Age": "61.5"},  # the absent B3 does not shift the age
    ]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("<c r='C2'><v>44.0</v></c>", "44"),
        ("<c r='C2'><v>0.10000000000000001</v></c>", "0.1"),
        ("<c r='C2'><v>1.5E-3</v></c>", "0.0015"),
        ("<c r='C2'><v>12345678901234567</v></c>", "12345678901234567"),
        ("<c r='C2'><v>-3</v></c>", "-3"),
        ("<c r='C2' t='b'><v>1</v></c>", "TRUE"),
        ("<c r='C2' t='b'><v>0</v></c>", "FALSE"),
        ("<c r='C2' t='e'><v>#N/A</v></c>", "#N/A"),
        ("<c r='C2' t='str'><f>A1&amp;\"x\"</f><v>IDx</v></c>", "IDx"),
        ("<c r='C2'><f>2*3</f><v>6</v></c>", "6"),
        ("<c r='C2' s='4'/>", ""),
        ("<c r='C2' t='d'><v>2020-01-31</v></c>", "2020-01-31"),
        ("<c r='C2' t='inlineStr'><is><r><t>HER2</t></r><r><rPr><b/></rPr><t>-en</t></r></is></c>", "HER2-en"),
        ("<c r='C2' t='inlineStr'><is><t>a &lt; b &amp; c_x000D_</t></is></c>", "a < b & c\r"),
        ("<c r='C2' t='inlineStr'><is><t>东京</t><rPh sb='0' eb='2'><t>トウキョウ</t></rPh></is></c>", "东京"),
    ],
)  # fmt: skip
def test_cell_types_as_a_csv_export_would_hold_them(tmp_path, cell, text):
    path = workbook(tmp_path / "t.xlsx", one_row("<c r='A2' t='s'><v>3</v></c>", cell))
    assert list(read_xlsx_rows(path)) == [{"ID": "D1-0001", "Side": "", "Age": text}]


def test_rich_and_phonetic_shared_strings(tmp_path):
    strings = (
        "<si><t>ID</t></si>",
        "<si><r><t xml:space='preserve'> Luminal </t></r><r><rPr><i/></rPr><t>B</t></r><phoneticPr/></si>",
        "<si><t>名</t><rPh sb='0' eb='1'><t>ナ</t></rPh></si>",
    )
    rows = (
        '<row r="1"><c r="A1" t="s"><v>0</v></c></row><row r="2"><c r="A2" t="s"><v>1</v></c></row>'
        '<row r="3"><c r="A3" t="s"><v>2</v></c></row>'
    )
    path = workbook(tmp_path / "t.xlsx", rows, strings=strings)
    assert [row["ID"] for row in read_xlsx_rows(path)] == [" Luminal B", "名"]


def test_blank_rows_late_header_cells_without_reference_and_far_columns(tmp_path):
    rows = (
        '<row r="1"/><row r="2"><c t="s"><v>0</v></c><c/><c t="s"><v>2</v></c></row>'
        '<row r="4"><c t="s"><v>3</v></c><c/><c><v>44</v></c></row><row r="5"><c r="A5" s="2"/></row>'
    )
    path = workbook(tmp_path / "t.xlsx", rows)
    assert list(read_xlsx_rows(path)) == [{"ID": "D1-0001", "": "", "Age": "44"}]
    assert xlsx._column("A1", path) == 0
    assert xlsx._column("AB12", path) == 27
    assert xlsx._column("XFD1048576", path) == 16383


def test_strict_namespace_prefixes_and_absolute_targets(tmp_path):
    strict = "http://purl.oclc.org/ooxml/spreadsheetml/main"
    rows = f'{HEAD}<x:worksheet xmlns:x="{strict}"><x:sheetData><x:row><x:c t="inlineStr"><x:is><x:t>a</x:t></x:is>'
    rows += "</x:c></x:row><x:row><x:c><x:v>1</x:v></x:c></x:row></x:sheetData></x:worksheet>"
    links = f'{HEAD}<Relationships><Relationship Target="/xl/other/first.xml" Id="rId1"/></Relationships>'
    parts = {"xl___rels__workbook": None, "xl__other__first": rows}
    path = workbook(tmp_path / "t.xlsx", "", strings=(), **parts)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("xl/_rels/workbook.xml.rels", links)
    assert list(read_xlsx_rows(path, required=("a",))) == [{"a": "1"}]


def test_a_sheet_by_its_name(tmp_path):
    second = sheet('<row><c t="inlineStr"><is><t>b</t></is></c></row><row><c><v>2</v></c></row>')
    path = workbook(tmp_path / "t.xlsx", one_row(), names=("one", "two"), xl__worksheets__sheet2=second)
    assert list(read_xlsx_rows(path, sheet="two")) == [{"b": "2"}]
    with pytest.raises(SchemaError, match="sheet `three` is missing; found 'one', 'two'"):
        list(read_xlsx_rows(path, sheet="three"))


def test_many_rows_cross_the_reading_blocks(tmp_path):
    row = '<row r="{0}"><c r="A{0}" t="s"><v>3</v></c><c r="C{0}"><v>{0}</v></c></row>'
    body = "".join(row.format(i) for i in range(2, 5002))
    rows = list(read_xlsx_rows(workbook(tmp_path / "t.xlsx", HEADER + body)))
    assert [row["Age"] for row in rows] == [str(i) for i in range(2, 5002)]
    assert {row["ID"] for row in rows} == {"D1-0001"}


# --- errors, as of the CSV reader


def test_missing_workbook_and_missing_or_repeated_column(tmp_path):
    (tmp_path / "other.csv").write_text("")
    with pytest.raises(LayoutError, match=r"`t\.xlsx` not found in .* \(found 1 entries: other\.csv\)"):
        read_xlsx_rows(tmp_path / "t.xlsx")
    path = workbook(tmp_path / "t.xlsx", one_row())
    with pytest.raises(SchemaError, match=r"column `age` is missing \(nearest name: `Age`\); found 3 columns"):
        list(read_xlsx_rows(path, required=("age",)))
    path = workbook(tmp_path / "u.xlsx", HEADER.replace("<v>1</v>", "<v>0</v>"))
    with pytest.raises(SchemaError, match="`ID` stands more than once"):
        list(read_xlsx_rows(path))


@pytest.mark.parametrize("rows", ["", '<row r="1"><c r="A1" s="3"/></row>'])
def test_empty_sheet(tmp_path, rows):
    with pytest.raises(CorruptFileError, match="expected a header line"):
        list(read_xlsx_rows(workbook(tmp_path / "t.xlsx", rows)))


def test_a_value_beyond_the_last_column_names_its_row(tmp_path):
    path = workbook(tmp_path / "t.xlsx", one_row("<c r='E2'><v>7</v></c>"))
    with pytest.raises(SchemaError, match="row 2: expected 3 cells, found '7' in column 5"):
        list(read_xlsx_rows(path))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("<c r='A2' t='s'><v>99</v></c>", "row 2, column 1: '99' of type `s`"),
        ("<c r='A2'><v>abc</v></c>", "row 2, column 1: 'abc' of type `n`"),
        ("<c r='2A'><v>1</v></c>", "'2A' is not the name of a cell"),
        ("<c r='ZZZ2'><v>1</v></c>", "'ZZZ2' is not the name of a cell"),
        ("<c r='A2'><v>1</c>", "not a readable Excel workbook"),
    ],
)
def test_damaged_cells(tmp_path, cell, message):
    with pytest.raises(CorruptFileError, match=message):
        list(read_xlsx_rows(workbook(tmp_path / "t.xlsx", one_row(cell))))


def test_damaged_archives(tmp_path):
    whole = workbook(tmp_path / "t.xlsx", one_row("<c r='C2'><v>1</v></c>")).read_bytes()
    damaged = tmp_path / "d.xlsx"
    position = whole.find(b"xl/worksheets/sheet1.xml") + 30
    for content in (
        whole[: len(whole) // 2],
        b"\xd0\xcf\x11\xe0 an old .xls",
        b"<html>",
        whole[:position] + bytes(40) + whole[position + 40 :],
    ):
        damaged.write_bytes(content)
        with pytest.raises(CorruptFileError, match=r"d\.xlsx`: not a readable Excel workbook .*Restore"):
            list(read_xlsx_rows(damaged))
    with zipfile.ZipFile(damaged, "w") as archive:
        archive.writestr("word/document.xml", "<document/>")
    with pytest.raises(CorruptFileError, match="a part is missing"):
        list(read_xlsx_rows(damaged))


@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/workbook.xml"])
def test_entity_expansion_is_refused_before_anything_expands(tmp_path, part):
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9)
    )
    text = f"{HEAD}{bomb}]><worksheet><t>&j;</t></worksheet>"
    path = workbook(tmp_path / "t.xlsx", one_row(), **{part.removesuffix(".xml").replace("/", "__"): text})
    with pytest.raises(CorruptFileError, match=f"`{part}` declares a document type"):
        list(read_xlsx_rows(path))


def test_external_entities_are_not_read(tmp_path):
    (tmp_path / "secret.txt").write_text("hidden")
    text = f'{HEAD}<!DOCTYPE x [<!ENTITY a SYSTEM "file://{tmp_path}/secret.txt">]><sst><si><t>&a;</t></si></sst>'
    path = workbook(tmp_path / "t.xlsx", one_row(), xl__sharedStrings=text)
    with pytest.raises(CorruptFileError, match="declares a document type"):
        list(read_xlsx_rows(path))


def test_a_part_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = workbook(tmp_path / "t.xlsx", one_row() + " " * 200_000)
    monkeypatch.setattr(xlsx, "_MAX_PART", 100_000)
    with pytest.raises(CorruptFileError, match=r"`xl/worksheets/sheet1\.xml` would unpack to 200,\d+ bytes"):
        list(read_xlsx_rows(path))


def test_a_row_number_that_is_none(tmp_path):
    with pytest.raises(CorruptFileError, match=r"t\.xlsx`: not a readable Excel workbook"):
        list(read_xlsx_rows(workbook(tmp_path / "t.xlsx", '<row r="x"><c r="A1"><v>1</v></c></row>')))


# --- the workbook, or what it was saved as


def test_the_workbook_wins_over_a_csv_copy_of_either_kind(tmp_path):
    path = tmp_path / "t.xlsx"
    for text in ("ID,Side,Age\nD1-0001,L,44\n", "\ufeffID;Side;Age\r\nD1-0001;L;44\r\n"):
        (tmp_path / "t.csv").write_bytes(text.encode())
        assert list(read_sheet_rows(path, required=("Age",))) == [{"ID": "D1-0001", "Side": "L", "Age": "44"}]
    workbook(path, one_row("<c r='C2'><v>45</v></c>"))
    assert list(read_sheet_rows(path)) == [{"ID": "", "Side": "", "Age": "45"}]
    with pytest.raises(LayoutError, match=r"`u\.xlsx` not found"):
        read_sheet_rows(tmp_path / "u.xlsx")
