"""`climb figures` when things go wrong: hostile files, stopped runs, targets of others, licences."""

import gzip
import io
import json
import os
import signal
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hub_server import stand_in_hub
from prepare_helpers import shards, start_command, tree, wait_for
from test_figures import PICTURE, SMALL, Killed, article, fig, load, only, package
from typer.testing import CliRunner

from climb_hf.cli.app import app
from climb_hf.errors import AccessError, CorruptFileError, DamagedDataError, LicenseError, OptionError
from climb_hf.figures import FigureOptions, list_units, make_figures, making, read_figures
from climb_hf.figures.jats import read_article
from climb_hf.figures.panels import decode
from climb_hf.miniatures._compound_figures import write_packages, write_table
from climb_hf.prepare import verify
from climb_hf.prepare.upload import push_prepared

BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;">]>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "text",
    [article(fig("F1", "<p>&y;</p>"), top=BOMB), article(fig("F1", "<p>&x;</p>"), top=OUTSIDE), "<a>" * 5000,
     "<article><fig>", "", "\x00\x01", article(fig("F1")).replace("</article>", "")],
    ids=["bomb", "external", "deep", "open", "empty", "binary", "cut"],
)  # fmt: skip
def test_hostile_articles_are_refused_and_named(text, tmp_path):
    path = tmp_path / "a.nxml"
    path.write_text(text)
    with pytest.raises(CorruptFileError, match=r"`a\.nxml`"):
        read_article(path)
    (failure,), _ = only(package(tmp_path / "p.tar.gz", text, [("PMC1/F1.jpg", PICTURE)]))
    assert failure.error == "CorruptFileError"
    assert failure.file == "p.tar.gz"


def test_document_types_are_not_opened(tmp_path):
    path = tmp_path / "a.nxml"
    path.write_text(article(fig("F1", "<p>a&nbsp;b</p>"), top='<!DOCTYPE article SYSTEM "http://127.0.0.1:9/x.dtd">'))
    assert read_article(path).figures[0].caption == "a b"


@pytest.mark.parametrize("name", ["../evil.jpg", "/evil.jpg", "PMC1/../../evil.jpg"])
def test_packages_cannot_leave_their_folder(name, tmp_path):
    (failure,), _ = only(package(tmp_path / "p.tar.gz", article(fig("F1")), [(name, PICTURE)]))
    assert "not a plain path" in failure.reason
    assert not list(tmp_path.parent.rglob("evil.jpg"))


def test_links_and_bombs_of_packages(tmp_path):
    with tarfile.open(tmp_path / "l.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("PMC1/F1.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    assert "outside" in only(tmp_path / "l.tar.gz")[0][0].reason
    info = tarfile.TarInfo("PMC1/a.nxml")
    info.size = 1 << 40
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(info.tobuf() + b"\0" * 1024))
    assert "beyond the limit" in only(tmp_path / "b.tar.gz")[0][0].reason
    (tmp_path / "t.tar.gz").write_bytes(package(tmp_path / "p.tar.gz", article(fig("F1"))).read_bytes()[:100])
    assert only(tmp_path / "t.tar.gz")[0][0].error == "CorruptFileError"


def huge_png():
    """A few bytes that declare 100,000 × 100,000 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("content", [huge_png(), PICTURE[: len(PICTURE) // 2], b"no picture", b""])
def test_bad_pictures_are_refused_and_named(content):
    with pytest.raises(CorruptFileError, match="`x`"):
        decode(content, "x")


def refuse_to_load(folder):
    with pytest.raises(FileNotFoundError, match="not-finished--run-climb-figures-again"):
        datasets.load_dataset(str(folder))


def test_bad_records_are_skipped_counted_and_named(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    pictures = [PICTURE] * 30 + [PICTURE[:200], None, huge_png()]
    captions = ["(a) CT. (b) MRI."] * 33
    pq.write_table(pa.table({"id": [f"r{n}" for n in range(33)], "image": pictures, "caption": captions}),
                   raw / "t.parquet", row_group_size=11)  # fmt: skip
    (raw / "broken.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(DamagedDataError, match=r"4 of 34 figures, packages and tables.*--max-failed"):
        make_figures(raw, tmp_path / "out", **SMALL)
    refuse_to_load(tmp_path / "out")
    done = make_figures(raw, tmp_path / "out", max_failed=0.2, **SMALL)
    assert done.reused == done.shards
    assert [failure["file"] for failure in done.failures] == [
        "broken.parquet", "t.parquet, row group 2, row 8", "t.parquet, row group 2, row 9",
        "t.parquet, row group 2, row 10",
    ]  # fmt: skip
    assert done.counts["figures"] == 30
    with pytest.raises(OptionError, match="lies in the input"):
        make_figures(raw, raw / "out", **SMALL)
    assert str(tmp_path) not in json.dumps(done.failures)


def test_a_damaged_row_group_is_one_failure(tmp_path):
    write_table(tmp_path / "t.parquet", 40, rows_per_group=4)
    content = bytearray((tmp_path / "t.parquet").read_bytes())
    offset = pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(3).column(1).data_page_offset
    content[offset : offset + 40] = b"\xff" * 40
    (tmp_path / "t.parquet").write_bytes(content)
    units, _ = list_units([tmp_path / "t.parquet"])
    found = [[type(item).__name__ for item in read_figures(unit)] for unit in units]
    assert found[3][-1] == "Failure"
    assert all(kinds == ["Figure"] * 4 for number, kinds in enumerate(found) if number != 3)


def test_empty_inputs(tmp_path):
    with pytest.raises(AccessError, match="does not exist"):
        make_figures(tmp_path / "none", tmp_path / "out")
    (tmp_path / "raw").mkdir()
    with pytest.raises(AccessError, match="no figures in"):
        make_figures(tmp_path / "raw", tmp_path / "out")
    table = pa.table({"image": pa.array([], pa.binary()), "caption": pa.array([], pa.string())})
    pq.write_table(table, tmp_path / "raw" / "e.parquet")
    package(tmp_path / "raw" / "p.tar.gz", article())
    done = make_figures(tmp_path / "raw", tmp_path / "out", **SMALL)
    assert (done.rows, done.counts, done.failures) == (0, {}, [])


# ---------------------------------------------------------------------- stopped runs


def test_a_killed_run_goes_on_and_writes_the_same_bytes(tmp_path, monkeypatch):
    write_packages(tmp_path / "raw", 30)
    whole = make_figures(tmp_path / "raw", tmp_path / "a" / "out", **SMALL)
    assert whole.shards > 4
    real = making.build_figure_shard
    for number in (0, 1, 3):
        built = []

        def build(task, store, built=built, number=number):
            if len(built) == number:
                raise Killed
            built.append(task.path)
            return real(task, store)

        with monkeypatch.context() as patched:
            patched.setattr(making, "build_figure_shard", build)
            with pytest.raises(Killed):
                make_figures(tmp_path / "raw", tmp_path / "b" / "out", **SMALL)
        refuse_to_load(tmp_path / "b" / "out")
    done = make_figures(tmp_path / "raw", tmp_path / "b" / "out", **SMALL)
    assert done.reused == 4
    assert tree(tmp_path / "b" / "out") == tree(tmp_path / "a" / "out")
    two = make_figures(tmp_path / "raw", tmp_path / "c" / "out", **{**SMALL, "num_proc": 2})
    assert two.sha256 == whole.sha256
    assert tree(tmp_path / "c" / "out") == tree(tmp_path / "a" / "out")
    assert verify(tmp_path / "c" / "out", "figures") == []


def test_kill_9_resumes_to_the_same_bytes(tmp_path):
    write_packages(tmp_path / "raw", 120, tile=160)
    arguments = ("figures", tmp_path / "raw", "--num-proc", 1, "--shard-size", "60KB", "--caption", "split", "--to")
    run = start_command(*arguments, tmp_path / "b" / "out")
    wait_for(lambda: len(shards(tmp_path / "b" / "out")) > 2, what="a shard")
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    refuse_to_load(tmp_path / "b" / "out")
    for target in ("b", "a"):
        again = start_command(*arguments, tmp_path / target / "out")
        assert again.wait() == 0, again.stdout.read()
    assert tree(tmp_path / "b" / "out") == tree(tmp_path / "a" / "out")


def test_other_options_or_figures_are_refused(tmp_path):
    write_packages(tmp_path / "raw", 6)
    out = tmp_path / "out"
    make_figures(tmp_path / "raw", out, **SMALL)
    with pytest.raises(OptionError, match=r"`options` was .* --overwrite|replace them with `--overwrite`"):
        make_figures(tmp_path / "raw", out, options=FigureOptions(caption="split"), **SMALL)
    write_packages(tmp_path / "raw", 8)
    with pytest.raises(OptionError, match="the raw data has changed"):
        make_figures(tmp_path / "raw", out, **SMALL)
    assert make_figures(tmp_path / "raw", out, overwrite=True, **SMALL).counts["figures"] == 8
    assert make_figures(tmp_path / "raw", out, **SMALL).reused > 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    with pytest.raises(OptionError, match="did not write"):
        make_figures(tmp_path / "raw", tmp_path / "mine", **SMALL)
    with pytest.raises(OptionError, match="written to a folder first"):
        make_figures(tmp_path / "raw", "hf://datasets/me/panels", **SMALL)


@pytest.mark.parametrize(
    "wrong", [{"caption": "half"}, {"threshold": 2.0}, {"min_side": 0}, {"classes": ("ct",)}, {"licenses": "some"}]
)
def test_options_are_checked(wrong):
    with pytest.raises(OptionError):
        FigureOptions(**wrong)


# ---------------------------------------------------------------------- licences, command


def test_closed_panels_are_marked_left_out_on_wish_and_never_published(tmp_path):
    write_packages(tmp_path / "raw", 24)
    every = make_figures(tmp_path / "raw", tmp_path / "all", **SMALL)
    rows = load(tmp_path / "all", tmp_path)
    closed = [row["license"] for row in rows if not row["redistributable"]]
    assert every.counts["closed"] == len(closed) > 0
    assert set(closed) == {"unknown", "CC-BY-ND-4.0"}
    with pytest.raises(LicenseError, match=r"of `CC-BY-ND-4\.0`.*--licenses open"):
        push_prepared(tmp_path / "all", "me/panels", private=True)
    done = make_figures(tmp_path / "raw", tmp_path / "open", options=FigureOptions(licenses="open"), **SMALL)
    assert done.rows == every.rows - len(closed)
    assert done.counts["figure dropped: licence"] > 0
    assert all(load(tmp_path / "open", tmp_path)["redistributable"][:])
    card = (tmp_path / "open" / "README.md").read_text()
    assert "I use the data for non-commercial purposes only" in card
    assert "extra_gated_fields" not in (tmp_path / "all" / "README.md").read_text()


def test_the_command_on_drawn_figures(tmp_path):
    result = CliRunner().invoke(app, ["figures", "--miniature", "--to", str(tmp_path / "out"), "--caption", "split",
                                      "--num-proc", "1", "--json"])  # fmt: skip
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert found["counts"]["figures"] == 64
    assert found["rows"] == len(load(tmp_path / "out", tmp_path))
    assert "**All of it is synthetic**" in (tmp_path / "out" / "README.md").read_text()
    table = CliRunner().invoke(app, ["figures", str(tmp_path), "--miniature", "--to", str(tmp_path / "x")])
    assert isinstance(table.exception, OptionError)


def test_the_table_of_the_command(tmp_path):
    write_table(tmp_path / "t.parquet", 8)
    arguments = ["figures", str(tmp_path / "t.parquet"), "--to", str(tmp_path / "out"), "--column", "id=__key__"]
    result = CliRunner().invoke(app, [*arguments, "--num-proc", "1"])
    assert result.exit_code == 0, result.output
    assert "| figures " in result.stdout
    assert "load it: datasets.load_dataset(" in result.stdout
    stream = io.BytesIO(next((tmp_path / "out" / "figures").glob("*.parquet")).read_bytes())
    assert pq.read_schema(stream).names[:5] == ["id", "source", "group", "image", "text"]


def test_open_panels_are_published_with_their_conditions(tmp_path):
    write_packages(tmp_path / "raw", 12)
    done = make_figures(tmp_path / "raw", tmp_path / "open", options=FigureOptions(licenses="open"), **SMALL)
    with stand_in_hub({"tok-1": "tester"}) as (endpoint, hub):
        variables = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        variables |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1",
                      "HF_TOKEN": "tok-1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # fmt: skip
        code = "import sys\nfrom climb_hf.prepare import push_prepared\npush_prepared(sys.argv[1], 'tester/panels')"
        root = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        run = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "open")], env={**variables, "PYTHONPATH": root},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-3000:]
        files = hub.files("tester/panels", kind="dataset")
    local = tree(tmp_path / "open")
    assert sum(path.endswith(".parquet") for path in files) == done.shards
    assert all(files[path] == local[path] for path in local if path.startswith(("figures/", "manifest/")))
    card = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert card["dataset_info"][0]["splits"][0]["num_examples"] == done.rows
    assert "I use the data for non-commercial purposes only" in card["extra_gated_fields"]
