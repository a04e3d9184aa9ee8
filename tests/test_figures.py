"""Compound figures: boxes and texts against what was drawn, hostile input, stopped runs, licences."""

import io
import json
import tarfile

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from climb_hf.errors import AccessError, OptionError, SchemaError
from climb_hf.figures import (
    Detection,
    FigureOptions,
    align_panels,
    gutter_boxes,
    is_redistributable,
    licence_of,
    list_units,
    make_figures,
    read_figures,
    reading_order,
    suppress,
)
from climb_hf.figures.boxes import clean_boxes, intersection_over_union
from climb_hf.figures.jats import read_article
from climb_hf.figures.panels import decode
from climb_hf.miniatures._compound_figures import draw_figure, write_packages, write_table
from climb_hf.readers.image import to_rgb

SMALL = {"num_proc": 1, "shard_size": "60KB", "synthetic": True}


class Killed(BaseException):
    """Stands for the death of the process in tests that stay in it."""


def load(folder, tmp_path):
    return datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"), split="train")


def package(path, article, files=()):
    """Write a package with an article of our own."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in [("PMC1/a.nxml", article.encode()), *files]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def article(*figures, licence="https://creativecommons.org/licenses/by/4.0/", top=""):
    return (
        f'{top}<article xmlns:xlink="http://www.w3.org/1999/xlink"><front>'
        f'<article-id pub-id-type="pmc">77</article-id><license xlink:href="{licence}"/></front>'
        f"<body>{''.join(figures)}</body></article>"
    )


def fig(name, caption="<p>A CT.</p>", extra=""):
    text = f"<label>Figure 1</label><caption>{caption}</caption>"
    return f'<fig id="{name}">{text}<graphic xlink:href="{name}"/>{extra}</fig>'


def only(path):
    """Figures and failures of a file."""
    units, failures = list_units([path])
    return [item for unit in units for item in read_figures(unit)], failures


PICTURE = draw_figure(1, gap=8, panels=4).encoded()


# ---------------------------------------------------------------------- boxes


def test_gutters_find_the_drawn_panels():
    wanted = found = hits = right = 0
    for number in range(150):
        figure = draw_figure(number)
        if figure.gap < 3:
            continue
        boxes = [part.box for part in gutter_boxes(Image.open(io.BytesIO(figure.encoded())))]
        wanted, found = wanted + len(figure.panels), found + len(boxes)
        hits += sum(any(intersection_over_union(p.box, b) >= 0.9 for b in boxes) for p in figure.panels)
        right += sum(any(intersection_over_union(p.box, b) >= 0.9 for p in figure.panels) for b in boxes)
    assert wanted > 700
    assert hits / wanted >= 0.95
    assert right / found >= 0.95


def test_gutters_cut_nested_layouts_and_keep_strips_with_their_panels():
    canvas = Image.new("L", (400, 310), 255)
    boxes = [(0, 20, 195, 310), (205, 20, 400, 160), (205, 170, 298, 310), (306, 170, 400, 310)]
    for box in boxes:
        canvas.paste(60, box)
    canvas.paste(0, (100, 0, 300, 8))  # a title that bridges the gutter below it
    found = [part.box for part in gutter_boxes(canvas)]
    assert len(found) == 4
    assert all(max(intersection_over_union(box, other) for other in found) >= 0.99 for box in boxes)


@pytest.mark.parametrize(("picture", "number"), [
    (Image.new("L", (90, 70), 255), 0), (Image.new("RGB", (90, 70), "black"), 1), (Image.new("L", (1, 1), 0), 1),
    (Image.new("L", (3000, 5), 0), 1),
])  # fmt: skip
def test_gutters_of_plain_pictures(picture, number):
    assert len(gutter_boxes(picture)) == number


def test_overlap_order_and_cleaning():
    pairs = [Detection((0, 0, 10, 10), 0.5), Detection((1, 0, 11, 10), 0.9), Detection((50, 0, 60, 10), 0.3)]
    assert [part.score for part in suppress(pairs)] == [0.9, 0.3]
    assert [part.score for part in suppress(pairs, 0.9)] == [0.9, 0.5, 0.3]
    kept, small = clean_boxes([Detection((10, 10, 30, 30), 1.0), Detection((35, 35, 38, 60), 1.0)], (40, 40),
                              expand=0.5, min_side=8)  # fmt: skip
    assert [part.box for part in kept] == [(0, 0, 40, 40)]
    assert small == 1
    assert clean_boxes([Detection((float("nan"), 0, 9, 9))], (40, 40)) == ([], 1)
    grid = [(60, 3, 100, 40), (0, 0, 50, 44), (0, 50, 50, 90), (60, 55, 100, 90)]
    assert reading_order(grid) == [1, 0, 2, 3]
    assert reading_order(grid, "columns") == [1, 2, 0, 3]
    with pytest.raises(OptionError, match="rows or columns"):
        reading_order(grid, "spiral")


def test_alignment_by_letters_and_by_reading_order():
    boxes = [(0, 0, 40, 40), (50, 0, 90, 40), (0, 50, 40, 90)]
    assert align_panels(boxes, ["a", "b", "c"]) == ["a", "b", "c"]
    letters = {"A": (1, 51, 6, 56), "B": (1, 1, 6, 6), "C": (43, 1, 49, 6)}  # c left of the second panel
    assert align_panels(boxes, ["a", "b", "c"], label_boxes=letters) == ["b", "c", "a"]
    assert align_panels(boxes, ["a", "b"]) == ["", "", ""]
    assert align_panels([], []) == []


# ---------------------------------------------------------------------- reading


def test_packages_and_tables_are_read_as_written(tmp_path):
    expected = write_packages(tmp_path / "raw", 12)
    found, failures = only(tmp_path / "raw")
    assert failures == []
    assert [f"{figure.article}/{figure.id}" for figure in found] == list(expected)
    assert [figure.caption for figure in found] == [figure.caption for figure in expected.values()]
    assert {figure.license for figure in found} >= {"CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0"}
    for figure, truth in zip(found, expected.values(), strict=True):
        assert decode(figure.content, "")[0].size == truth.pixels.shape[1::-1]
    expected = write_table(tmp_path / "t" / "x.parquet", 20, rows_per_group=6)
    units, _ = list_units([tmp_path / "t"])
    assert [unit.group for unit in units] == [0, 1, 2, 3]
    found = [figure for unit in units for figure in read_figures(unit)]
    assert [f"{figure.article}/{figure.id}" for figure in found] == list(expected)
    assert [figure.content for figure in found] == [figure.encoded() for figure in expected.values()]
    assert {figure.license for figure in found} == {"CC-BY", "CC-BY-NC", "unknown"}


def test_unpacked_packages_and_json_metadata(tmp_path):
    write_packages(tmp_path / "raw", 3)
    for path in (tmp_path / "raw").glob("*.tar.gz"):
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path / "open", filter="data")
    assert [figure.id for figure in only(tmp_path / "open")[0]] == ["F1", "F1", "F2"]
    meta = [json.dumps({"article_accession_id": "PMC5", "article_license": "CC BY-NC-ND"}), "no json"]
    table = pa.table({"__key__": ["a", "b"], "jpg": [PICTURE, PICTURE], "txt": ["CT.", None], "json": meta})
    pq.write_table(table, tmp_path / "j.parquet")
    first, second = only(tmp_path / "j.parquet")[0]
    assert (first.article, first.license, first.caption) == ("PMC5", "CC-BY-NC-ND", "CT.")
    assert (second.article, second.license, second.caption) == ("b", "unknown", "")


def test_columns_can_be_named_and_missing_ones_are(tmp_path):
    pq.write_table(pa.table({"pic": [PICTURE], "words": ["CT."]}), tmp_path / "t.parquet")
    (unit,), _ = list_units([tmp_path / "t.parquet"])
    with pytest.raises(SchemaError, match="--column image=NAME"):
        list(read_figures(unit))
    (figure,) = read_figures(unit, {"image": "pic", "caption": "words"})
    assert figure.caption == "CT."
    with pytest.raises(SchemaError, match="no column nothing"):
        list(read_figures(unit, {"image": "nothing", "caption": "words"}))


def test_captions_of_articles(tmp_path):
    group = (
        "<fig-group><caption><title>Both.</title></caption>"
        f"{fig('F1', '<title>One</title><p>Of <bold>it</bold>.</p>')}"
        f"{fig('F2', '<p>x <inline-formula><tex-math>junk</tex-math></inline-formula> y&#160;z</p>')}</fig-group>"
    )
    path = tmp_path / "a.nxml"
    path.write_text(article(group, fig("F3")))
    figures = read_article(path).figures
    assert [figure.caption for figure in figures] == ["Both. One Of it.", "Both. x y z", "A CT."]
    assert {figure.label for figure in figures} == {"Figure 1"}
    assert read_article(path).id == "PMC77"


def test_credits_of_nested_figures_hold_for_all_of_them(tmp_path):
    elsevier = "<permissions><copyright-statement>Copyright Elsevier</copyright-statement></permissions>"
    caption = "<caption><p>Outer.</p></caption>"
    figures = [
        f"<fig id='N'>{caption}{elsevier}{fig('N1')}<graphic xlink:href='N'/></fig>",
        f"<fig-group id='G'>{caption}{fig('G1')}<graphic xlink:href='G'/><attrib>A museum</attrib></fig-group>",
        fig("F1"),
    ]
    path = tmp_path / "a.nxml"
    path.write_text(article(*figures))
    found = {figure.id: (figure.caption, figure.credit) for figure in read_article(path).figures}
    assert found == {
        "N1": ("Outer. A CT.", "Copyright Elsevier"), "N": ("Outer.", "Copyright Elsevier"),
        "G1": ("Outer. A CT.", "A museum"), "G": ("Outer.", "A museum"), "F1": ("A CT.", ""),
    }  # fmt: skip


def test_formats_of_one_picture_are_one_figure(tmp_path):
    both = "<alternatives><graphic xlink:href='F1.tif'/><graphic xlink:href='F1.jpg'/></alternatives>"
    files = [(f"PMC1/{name}", PICTURE) for name in ("F1.tif", "F1.jpg", "F2.JPG")]
    text = article(f"<fig id='F1'><caption><p>A CT.</p></caption>{both}</fig>", fig("F2"))
    found, _ = only(package(tmp_path / "p.tar.gz", text, files))
    assert [(figure.id, figure.file) for figure in found] == [
        ("F1", "p.tar.gz, F1.tif"), ("F2", "p.tar.gz, F2.JPG"),
    ]  # fmt: skip


def test_what_has_no_id_is_named_by_its_path(tmp_path):
    for name in ("a", "b"):
        folder = tmp_path / "raw" / name
        folder.mkdir(parents=True)
        (folder / "main.nxml").write_text("<article><body>" + fig("F1").replace("xlink:", "") + "</body></article>")
        (folder / "F1.jpg").write_bytes(PICTURE)
        pq.write_table(pa.table({"image": [PICTURE], "caption": ["CT."]}), folder / "t.v1.parquet")
    found, failures = only(tmp_path / "raw")
    assert failures == []
    assert [(figure.article, figure.id) for figure in found] == [
        ("a/main", "F1"), ("a/t.v1-0-0", "a/t.v1-0-0"), ("b/main", "F1"), ("b/t.v1-0-0", "b/t.v1-0-0"),
    ]  # fmt: skip


@pytest.mark.parametrize(("texts", "expected"), [
    (["https://creativecommons.org/licenses/by-nc-nd/3.0/"], "CC-BY-NC-ND-3.0"),
    (["http://creativecommons.org/publicdomain/zero/1.0/"], "CC0-1.0"),
    (["CC BY-NC-SA"], "CC-BY-NC-SA"), (["CC0"], "CC0-1.0"), (["CC-BY 4.0"], "CC-BY-4.0"),
    (["distributed under the Creative Commons Attribution License 4.0"], "CC-BY-4.0"),
    (["the Creative Commons Attribution Non-Commercial No Derivatives License"], "CC-BY-NC-ND"),
    (["https://creativecommons.org/licenses/by/4.0/", "CC BY-NC 4.0"], "CC-BY-NC-4.0"),
    (["NO-CC CODE"], "unknown"), (["open-access", None, ""], "unknown"), ([], "unknown"),
])  # fmt: skip
def test_licences_have_one_spelling(texts, expected):
    assert licence_of(*texts) == expected


def test_reprints_are_not_under_the_licence_of_the_article(tmp_path):
    figures = [
        fig("F1"), fig("F2", "<p>CT. Reprinted with permission from Elsevier.</p>"),
        fig("F3", extra="<attrib>Courtesy of a museum</attrib>"),
        fig("F4", extra="<permissions><license xmlns:x='http://www.w3.org/1999/xlink' "
                        "x:href='https://creativecommons.org/licenses/by-sa/3.0/'/></permissions>"),
    ]  # fmt: skip
    files = [(f"PMC1/F{number}.jpg", PICTURE) for number in range(1, 5)]
    found, _ = only(package(tmp_path / "p.tar.gz", article(*figures), files))
    assert [figure.license for figure in found] == ["CC-BY-4.0", "third-party", "third-party", "CC-BY-SA-3.0"]
    assert [is_redistributable(figure.license) for figure in found] == [True, False, False, True]


# ---------------------------------------------------------------------- rows


def test_rows_are_the_drawn_panels_with_their_texts(tmp_path):
    truth = write_packages(tmp_path / "raw", 24, gap=8)
    done = make_figures(tmp_path / "raw", tmp_path / "out", options=FigureOptions(caption="split"), **SMALL)
    rows = load(tmp_path / "out", tmp_path)
    assert len(rows) == done.rows == sum(len(figure.panels) for figure in truth.values())
    assert done.counts["figures"] == 24
    panels = [(name, panel) for name, figure in truth.items() for panel in figure.panels]
    for row, (name, panel) in zip(rows, panels, strict=True):
        assert f"{row['group']}/{row['figure']}" == name
        assert (row["panel"], row["text"]) == (panel.label, panel.text)
        assert row["image"].mode == "RGB"
        left, top, right, bottom = row["box"]
        assert row["image"].size == (right - left, bottom - top)
        if panel.label:
            assert intersection_over_union(row["box"], panel.box) >= 0.85
            drawn = np.asarray(truth[name].pixels[top:bottom, left:right], np.int16)
            assert np.abs(np.asarray(row["image"], np.int16) - drawn).mean() < 6
        assert row["redistributable"] == is_redistributable(row["license"])
    assert len(set(rows["id"][:])) == len(rows)


def test_full_captions_and_whole_figures(tmp_path):
    truth = write_table(tmp_path / "t.parquet", 8, gap=8)
    make_figures(tmp_path / "t.parquet", tmp_path / "full", **SMALL)
    rows = load(tmp_path / "full", tmp_path)
    assert {(f"{row['group']}/{row['figure']}", row["text"]) for row in rows} == {
        (name, figure.caption) for name, figure in truth.items()
    }
    assert set(rows["caption"][:]) == {None}
    make_figures(tmp_path / "t.parquet", tmp_path / "whole", options=FigureOptions(detector="none"), **SMALL)
    whole = load(tmp_path / "whole", tmp_path).cast_column("image", datasets.Image(decode=False))
    assert [row["image"]["bytes"] for row in whole] == [figure.encoded() for figure in truth.values()]


def known_boxes(images, figures):
    """Boxes and letters as drawn, for figures that are numbered by their key."""
    drawn = [draw_figure(int(figure.id.rpartition("_")[2]), panels=9) for figure in figures]
    return [
        [Detection(p.box, 0.9) for p in reversed(figure.panels)]
        + [Detection(p.label_box, 0.8, p.label) for p in figure.panels if p.label_box]
        for figure in drawn
    ]


def test_whole_figures_look_the_same_in_plain_readers(tmp_path):
    clear = np.zeros((40, 40, 4), "u1")
    clear[10:30, 10:30] = (200, 30, 30, 255)
    deep = np.random.default_rng(0).integers(20_000, 60_000, (40, 40)).astype("<u2")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype("u1"))
    pictures = {
        "clear": (Image.fromarray(clear), "PNG"), "deep": (Image.fromarray(deep), "PNG"),
        "inked": (noise.convert("CMYK"), "JPEG"), "palette": (noise.convert("P"), "PNG"),
        "tiff": (Image.fromarray(deep), "TIFF"), "gif": (noise.convert("P"), "GIF"),
    }  # fmt: skip
    files = {}
    for name, (picture, kind) in pictures.items():
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        files[name] = buffer.getvalue()
    images = [{"bytes": content, "path": name} for name, content in files.items()]
    table = pa.table({"image": images, "caption": ["CT."] * len(files), "id": list(files)})
    pq.write_table(table, tmp_path / "t.parquet")
    make_figures(tmp_path / "t.parquet", tmp_path / "out", **SMALL)
    rows = load(tmp_path / "out", tmp_path)
    stored = rows.cast_column("image", datasets.Image(decode=False))
    for row, raw in zip(rows, stored, strict=True):
        name = row["figure"]
        expected = to_rgb(Image.open(io.BytesIO(files[name])))
        np.testing.assert_array_equal(np.asarray(row["image"]), np.asarray(expected), err_msg=name)
        assert (raw["image"]["bytes"] == files[name]) == (name in ("inked", "palette"))


def test_known_boxes_are_aligned_exactly_also_where_panels_touch(tmp_path):
    truth = write_table(tmp_path / "t.parquet", 40)
    assert any(figure.gap == 0 for figure in truth.values())
    options = FigureOptions(caption="split", overlap=0.0, image_format="PNG")
    make_figures(tmp_path / "t.parquet", tmp_path / "out", options=options, boxes=known_boxes, **SMALL)
    found = {(f"{r['group']}/{r['figure']}", r["panel"]): (tuple(r["box"]), r["text"])
             for r in load(tmp_path / "out", tmp_path)}  # fmt: skip
    assert found == {
        (name, panel.label): (panel.box, panel.text) for name, figure in truth.items() for panel in figure.panels
    }


def test_panels_that_do_not_fit_the_labels(tmp_path):
    write_table(tmp_path / "t.parquet", 6, gap=8, panels=4)

    def two(images, figures):
        return [[Detection((0, 0, 50, 50), 0.9), Detection((60, 0, 110, 50), 0.8)] for _ in images]

    options = FigureOptions(caption="split", unaligned="drop")
    done = make_figures(tmp_path / "t.parquet", tmp_path / "drop", options=options, boxes=two, **SMALL)
    n = done.counts["figures not aligned"]
    assert done.counts["panel dropped: not aligned"] == 2 * n > 0
    kept = make_figures(
        tmp_path / "t.parquet", tmp_path / "full", options=FigureOptions(caption="split"), boxes=two, **SMALL
    )
    assert kept.rows == 12 == done.rows + 2 * n


def test_filters_count_what_they_drop(tmp_path):
    blank = io.BytesIO()
    Image.new("L", (200, 80), 200).save(blank, "PNG")
    tiny = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(tiny, "PNG")
    figures = [fig("F1"), fig("F2", "<p/>"), fig("F3"), fig("F4"), fig("F5", "<p>CT</p>")]
    files = [("PMC1/F1.jpg", PICTURE), ("PMC1/F2.jpg", PICTURE), ("PMC1/F3.png", blank.getvalue()),
             ("PMC1/F4.png", tiny.getvalue()), ("PMC1/F5.jpg", PICTURE)]  # fmt: skip
    package(tmp_path / "p.tar.gz", article(*figures), files)
    options = FigureOptions(detector="none", min_caption=3)
    done = make_figures(tmp_path / "p.tar.gz", tmp_path / "out", options=options, **SMALL)
    dropped = {name: n for name, n in done.counts.items() if "dropped" in name}
    assert dropped == {
        "figure dropped: no caption": 1, "figure dropped: short caption": 1, "panel dropped: blank": 1,
        "panel dropped: small": 1,
    }  # fmt: skip
    assert done.rows == 1
    assert "| panel dropped: blank | 1 |" in (tmp_path / "out" / "README.md").read_text()


# ---------------------------------------------------------------------- checkpoints


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    import torch
    from transformers import (
        ViTConfig,
        ViTForImageClassification,
        ViTImageProcessor,
        YolosConfig,
        YolosForObjectDetection,
        YolosImageProcessor,
    )

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("checkpoints")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
             "patch_size": 16}  # fmt: skip
    config = YolosConfig(**small, image_size=[64, 64], num_detection_tokens=8,
                         id2label={0: "subfigure", 1: "label_a"}, label2id={"subfigure": 0, "label_a": 1})  # fmt: skip
    YolosForObjectDetection(config).save_pretrained(root / "detector")
    YolosImageProcessor(size={"height": 64, "width": 64}).save_pretrained(root / "detector")
    config = ViTConfig(**small, image_size=32, id2label={0: "plot", 1: "ct"}, label2id={"plot": 0, "ct": 1})
    model = ViTForImageClassification(config)
    model.classifier.weight.data.zero_()
    model.classifier.bias.data = torch.tensor([0.0, 1.0])  # always `ct`
    model.save_pretrained(root / "classifier")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(root / "classifier")
    return root


def test_any_detection_checkpoint_finds_boxes(checkpoints, tmp_path):
    write_table(tmp_path / "t.parquet", 6, gap=8)
    options = FigureOptions(detector=str(checkpoints / "detector"), threshold=0.1, min_side=1, batch_size=4)
    first = make_figures(tmp_path / "t.parquet", tmp_path / "a" / "out", options=options, **SMALL)
    assert first.counts["figures"] == 6
    assert first.counts["figures cut"] > 0
    for row in load(tmp_path / "a" / "out", tmp_path):
        assert row["score"] is None or 0.1 <= row["score"] <= 1
    again = make_figures(tmp_path / "t.parquet", tmp_path / "b" / "out", options=options, **SMALL)
    assert again.sha256 == first.sha256
    sure = FigureOptions(detector=str(checkpoints / "detector"), threshold=1.0)
    done = make_figures(tmp_path / "t.parquet", tmp_path / "c", options=sure, **SMALL)
    assert done.counts["figures kept whole"] == done.rows == 6


def test_a_classification_checkpoint_filters(checkpoints, tmp_path):
    write_table(tmp_path / "t.parquet", 4, gap=8)
    name = str(checkpoints / "classifier")
    for classes, share in ((("ct",), 1), (("plot",), 0)):
        options = FigureOptions(classifier=name, classes=classes)
        done = make_figures(tmp_path / "t.parquet", tmp_path / classes[0], options=options, **SMALL)
        total = done.rows + done.counts.get("panel dropped: class", 0)
        assert total > 4
        assert done.rows == total * share
    options = FigureOptions(classifier=name, classes=("mri",))
    with pytest.raises(OptionError, match="it has plot, ct"):
        make_figures(tmp_path / "t.parquet", tmp_path / "x", options=options, **SMALL)
    with pytest.raises(AccessError, match="no checkpoint"):
        make_figures(tmp_path / "t.parquet", tmp_path / "y", options=FigureOptions(detector=str(tmp_path)), **SMALL)
