"""Lines filtered before parsing: no line that counts is ever lost, whatever its form; damage is named."""

import csv
import gzip
import io
import random
from collections import deque
from datetime import datetime, timedelta

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError, SchemaError
from climb_hf.miniatures._mimic_tables import HEADERS
from climb_hf.readers.line_filter import BLOCK, Block, QuotedLineEnd, first_comma, parse_digits, read_blocks
from climb_hf.readers.mimic_events import Windows, can_scan, scan_events
from climb_hf.readers.mimic_layout import Table

START = datetime(2150, 2, 27, 22, 30)


def content_of(path):
    """Return the joined blocks of a file and how many there were."""
    free, parts = deque([Block()]), []
    for block in read_blocks(path, free):
        parts.append(bytes(block.content[block.begin : block.end]))
        assert parts[-1].endswith(b"\n")
        free.append(block)
    return b"".join(parts), len(parts)


def test_words_are_searched_and_read_as_python_does():
    generator = random.Random(0)
    texts = ["".join(generator.choice("0123456789,-x") for _ in range(8)).encode() for _ in range(500)]
    words = np.frombuffer(b"".join(texts), "<u8")
    places, has_comma = first_comma(words)
    assert has_comma.tolist() == [b"," in text for text in texts]
    assert [p for p, has in zip(places, has_comma, strict=True) if has] == [t.find(b",") for t in texts if b"," in t]
    numbers = [str(generator.randrange(10**n)).rjust(n, "0") for n in range(1, 9) for _ in range(50)]
    words = np.frombuffer("".join(n.ljust(8, ",") for n in numbers).encode(), "<u8")
    assert parse_digits(words, np.array([len(n) for n in numbers])).tolist() == [int(n) for n in numbers]


@pytest.mark.parametrize("form", ["plain", "gzip", "members", "no end"])
def test_blocks_hold_every_line_but_the_header(tmp_path, form):
    lines = [f"{i},{'x' * (i % 50)}\n".encode() for i in range(150_000)]
    text = b"a,b\n" + b"".join(lines)
    assert len(text) > 3 * BLOCK
    path = tmp_path / ("t.csv" if form == "plain" else "t.csv.gz")
    parts = [text[: len(text) // 3], text[len(text) // 3 :]] if form == "members" else [text]
    parts[-1] = parts[-1].removesuffix(b"\n") if form == "no end" else parts[-1]
    path.write_bytes(text if form == "plain" else b"".join(gzip.compress(part, 1) for part in parts))
    content, count = content_of(path)
    assert content == b"".join(lines)
    assert count > 2


def test_empty_and_damaged_files(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n"))
    assert content_of(path) == (b"", 0)
    whole = gzip.compress(b"a,b\n" + b"1,2\n" * 100_000)
    flipped = bytearray(whole)
    flipped[-6] ^= 255  # the checksum
    for damaged in (whole[:-9], whole[: len(whole) // 2], bytes(flipped), b"no gzip at all"):
        path.write_bytes(damaged)
        with pytest.raises(CorruptFileError, match="Download it again"):
            content_of(path)


def block_of(text):
    block = Block()
    block.fill(text)
    block.cut()
    return block


def test_starts_of_lines_and_cells_with_line_ends():
    text = b'1,"a, ""b"""\n\n22\r\n3,"x","y"\n'
    starts = block_of(text).starts().tolist()
    assert starts == [0, 13, 14, 18, len(text)]
    for text in (b'1,"two\nlines"\n', b'1,"a"\n2,"b\n3"\n4,"c"\n', b'"\n'):
        with pytest.raises(QuotedLineEnd):
            block_of(text).starts()
    block = block_of(b"a\nbb\nccc\n")
    assert bytes(block.select(block.starts(), np.array([True, False, True]))) == b"a\nccc\n"
    with pytest.raises(QuotedLineEnd):
        block_of(b"x" * (2 * BLOCK))


def rows_of(name, generator, count=3000):
    """Return cells of a table by column, most of them as the publisher writes them."""
    rows, usual = [], [220045, 220046, 220047] if name == "icu/chartevents" else [50912, 50913, 50914]
    for i in range(count):
        odd = generator.random() < 0.1
        time = START + timedelta(minutes=generator.randrange(-3000, 6000))
        charted = time.strftime("%Y-%m-%d %H:%M:%S")
        row = {
            "labevent_id": 9_000 + i, "specimen_id": generator.choice([7, 12345, 1234567, 98765432]),
            "subject_id": generator.choice([10000001, 10000002, 10000009, 999 if odd else 10000003]),
            "hadm_id": generator.choice([20000001, 20000002, 20000009, "" if odd or name[0] == "h" else 20000008]),
            "stay_id": 30000001,
            "caregiver_id": generator.choice(["", 7, 12345, 987654, 123456789 if odd else 1]),
            "order_provider_id": generator.choice(["", "P12ABC", "P123456789" if odd else "P9"]),
            "charttime": charted, "storetime": "" if i % 7 == 0 else charted,
            "itemid": generator.choice([1, 50912, 220045, 1234567] if odd else usual),
            "value": generator.choice(["88", 'a, "b"', "", "220045", "2150-02-27 23:00:00"]),
            "valuenum": generator.choice([88, 8.5, ""]), "valueuom": generator.choice(["bpm", "", "mg,dL"]),
        }  # fmt: skip
        rows.append([row.get(column, "") for column in HEADERS[name].split(",")])
    return rows


@pytest.mark.parametrize(
    ("name", "items", "keys"),
    [("icu/chartevents", (220045,), ("hadm_id",)), ("hosp/labevents", (50912, 1), ("hadm_id", "subject_id")),
     ("icu/chartevents", None, ("stay_id",)), ("hosp/labevents", None, ("subject_id",))],
)  # fmt: skip
def test_no_row_that_counts_is_lost(tmp_path, name, items, keys):
    header = HEADERS[name].split(",")
    stream = io.StringIO()
    rows = rows_of(name, random.Random(1))
    csv.writer(stream, lineterminator="\n").writerows([header, *rows])
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(stream.getvalue().encode()))
    table = Table(name.split("/")[1], path, tuple(header))
    assert can_scan(table)
    last = START + timedelta(hours=30)
    ids = {"hadm_id": [20000001, 20000002], "subject_id": [10000001], "stay_id": [30000001]}
    windows = {
        key: Windows(np.array(ids[key]), *(np.array([m] * len(ids[key]), "datetime64[s]") for m in (START, last)))
        for key in keys
    }
    wanted = []
    for row in rows:
        cells = dict(zip(header, map(str, row), strict=True))
        key = next((key for key in keys if cells[key]), keys[-1])
        is_inside = START <= datetime.fromisoformat(cells["charttime"]) <= last
        if is_inside and cells[key] in map(str, ids[key]) and (items is None or int(cells["itemid"]) in items):
            wanted.append((cells["subject_id"], cells["itemid"], cells["charttime"], cells["value"]))
    for threads in (1, 3):
        found = [
            r for part in scan_events(table, items=items, windows=windows, threads=threads) for r in part.to_pylist()
        ]
        told = [(str(r["subject_id"]), str(r["itemid"]), str(r["charttime"]), r["value"] or "") for r in found]
        remaining = iter(told)
        assert all(row in remaining for row in wanted), "in the order of the file, with none missing"
        assert len(wanted) <= len(told) < 0.8 * len(rows)


def test_columns_in_another_order_are_for_another_reader(tmp_path):
    header = HEADERS["icu/chartevents"].split(",")
    assert not can_scan(Table("chartevents", tmp_path, tuple(name for name in header if name != "caregiver_id")))
    assert not can_scan(Table("d_items", tmp_path, ("itemid", "label")))


def test_values_of_a_wrong_type_are_named(tmp_path):
    path = tmp_path / "chartevents.csv"
    path.write_text(
        HEADERS["icu/chartevents"] + "\n10000001,20000001,30000001,,2150-02-27 23:00:00,,220045,x,much,bpm,0\n"
    )
    moment = np.array([START], "datetime64[s]")
    windows = {"hadm_id": Windows(np.array([20000001]), moment, moment + np.timedelta64(1, "D"))}
    table = Table("chartevents", path, tuple(HEADERS["icu/chartevents"].split(",")))
    with pytest.raises(SchemaError, match=r"chartevents\.csv` cannot be read .*much"):
        list(scan_events(table, items=(220045,), windows=windows))
