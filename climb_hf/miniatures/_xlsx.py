"""An Excel workbook written part by part, as Excel lays one out: shared strings, numbers, no empty cells."""

import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from climb_hf.miniatures._common import write_bytes

__all__ = ["write_xlsx"]

_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\r\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_FIXED = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/>'
    f'<Override PartName="/xl/sharedStrings.xml" ContentType="{_TYPE}.sharedStrings+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
    f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
    '<sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
    f'<Relationship Id="rId2" Type="{_OFFICE}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
}


def write_xlsx(path: Path, rows: Iterable[Sequence[str | int | None]]) -> None:
    """Write a workbook of one sheet; the same rows always give the same bytes.

    Args:
        path (`pathlib.Path`): target; missing folders are made.
        rows: the rows, header first, of at most 26 columns; `None` leaves a cell out.
    """
    table = list(rows)
    texts = [cell for row in table for cell in row if isinstance(cell, str)]
    number = {text: index for index, text in enumerate(dict.fromkeys(texts))}
    lines = []
    for y, row in enumerate(table, 1):
        cells = "".join(_cell(f"{chr(65 + x)}{y}", cell, number) for x, cell in enumerate(row) if cell is not None)
        lines.append(f'<row r="{y}" spans="1:{len(row)}">{cells}</row>')
    items = "".join(f"<si><t>{escape(text)}</t></si>" for text in number)
    extent = f"A1:{chr(64 + len(table[0]))}{len(table)}"
    parts = {
        **_FIXED,
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_MAIN}"><dimension ref="{extent}"/>'
        f"<sheetData>{''.join(lines)}</sheetData></worksheet>",
        "xl/sharedStrings.xml": f'<sst xmlns="{_MAIN}" count="{len(texts)}" uniqueCount="{len(number)}">{items}</sst>',
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in parts.items():
            member = zipfile.ZipInfo(name)  # dated 1980, so that the bytes never change
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, _HEAD + text)
    write_bytes(path, buffer.getvalue())


def _cell(reference: str, value: str | int, number: dict[str, int]) -> str:
    if isinstance(value, str):
        return f'<c r="{reference}" t="s"><v>{number[value]}</v></c>'
    return f'<c r="{reference}"><v>{value}</v></c>'
