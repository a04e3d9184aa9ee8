"""The papers' numbers as shipped, their tables, and the contradictions that are computed from them."""

import csv
import io
import re

import pytest

from climb_hf.errors import OptionError
from climb_hf.registry import source_names
from climb_hf.report.benchmark import paper_tables
from climb_hf.report.paper import TABLES, CellKey, PaperNumber, notes_of, paper_numbers, paper_rows, table_of
from climb_hf.report.paper.checks import mean_problem
from climb_hf.report.paper.numbers import FIELDS, read_table
from climb_hf.report.paper.origins import origin_of


def notes(number, paper="climb", **where):
    """Texts of the notes on a cell."""
    return [n.text for n in notes_of(number, paper) if n.is_of_cells and n.concerns(CellKey(**where))]


def test_the_shipped_numbers_are_those_of_the_paper(shared_dir):
    with (shared_dir / "paper" / "results.csv").open(newline="", encoding="utf-8") as stream:
        assert read_table("climb_paper.csv") == list(csv.DictReader(stream))


def test_the_shipped_numbers_of_open_pmc_are_those_of_the_supplement(shared_dir):
    text = (shared_dir / "openpmc.md").read_text(encoding="utf-8")
    sets = {"mimic": "mimic_cxr", "quilt": "quilt1m", "deepeyenet": "deepeyenet"}
    ways = {"i2t": "image_to_text", "t2i": "text_to_image"}
    expected = []
    for block in re.findall(r"```csv\n# (table[234].*?)```", text, re.DOTALL):
        head, rest = block.split("\n", 1)
        for row in csv.DictReader(io.StringIO(rest)):
            for name, value in row.items():
                way, _, of = name.partition("_")
                dataset = "average" if name.endswith("_printed") else sets[of] if way in ways else name
                if name != "model":
                    expected.append((head[5:].split(":")[0], row["model"], dataset, ways.get(way, ""), value))
    found = [
        (n.table[1:], n.key.model, n.key.dataset, n.key.task.replace("average", ""), n.text)
        for n in paper_numbers("openpmc")
        if n.table != "S1"
    ]
    assert sorted(found) == sorted(expected)
    sizes = dict(re.findall(r"^(?:classification|retrieval),[^,]*,(\w+),[^,]*,(\d+)", text, re.MULTILINE))
    sizes["mimic_cxr"] = sizes.pop("mimic_cxr_reports")
    shipped = {n.key.dataset: n.text for n in paper_numbers("openpmc") if n.key.metric == "samples"}
    assert shipped == sizes
    assert len(sizes) == 22


def test_every_number_has_a_place_in_its_table():
    for paper, skipped in (("climb", {"29"}), ("openpmc", set())):
        for number in paper_numbers(paper):
            if number.table not in skipped and not number.key.model.endswith(" Encoders"):
                assert number in paper_rows(table_of(number.table, paper)), number
    assert [t.number for t in TABLES if t.paper == "climb"] == ["2", "3", "4", "5", *map(str, range(10, 29))]
    for table in TABLES:
        keys = [n.key for n in paper_rows(table)]
        assert len(set(keys)) == len(keys), table.number
        assert all(set(table.lines) | set(table.columns) <= set(FIELDS) for table in TABLES)


def test_another_paper_is_refused():
    with pytest.raises(OptionError, match="`paper` must be one of climb, openpmc"):
        paper_numbers("nature")


def test_means_that_do_not_follow_are_noted():
    overall = {"model": "ConvNeXtV2", "dataset": "overall", "training": "multitask"}
    assert notes("16", metric="auc", **overall) == [
        "The mean of the 25 printed numbers is 0.80640; this mean would need 0.294 for `cmmd`, where a dash is "
        "printed."
    ]
    assert notes("16", metric="f1", **overall) == []
    assert notes("25", model="ECG-JEPA", dataset="overall", metric="specificity", training="multitask") == [
        "The mean of the 4 printed numbers is 0.9330."
    ]
    assert notes("18", model="GCN", dataset="overall", metric="auc", training="multitask") == [
        "A mean of the means by modality, not of the sources."
    ]
    assert notes("18", model="GCN", dataset="molecule", metric="auc", training="multitask") == []
    assert notes("23", model="FFCL", dataset="overall", metric="sensitivity", training="multitask") == []  # rounding


def test_tables_that_contradict_each_other_are_noted():
    eva = notes("2", model="EVA-2", dataset="ct", metric="auc", training="multitask")
    assert eva == ["21 of this model's 21 numbers do not follow from the table of its sources."]
    swin = notes("2", model="Swin Transformer", dataset="mammography", metric="auc", training="multitask")
    assert swin == ["Against Table 14: the mean of the 2 printed numbers is 0.6704."]
    assert notes("2", model="MedViT", dataset="ct", metric="auc", training="multitask") == []
    shifted = notes("4", model="ConvNeXtV2", dataset="average", metric="specificity", training="multitask")
    assert (
        "Table 16 prints 0.8064 for the overall specificity. .787 is its auc, so the columns look shifted." in shifted
    )
    assert notes("28", model="UniTS", dataset="cpsc", metric="auc", training="cpsc") == [
        "Table 25 prints the same numbers for multitask training."
    ]
    assert notes("28", model="UniTS", dataset="cpsc", metric="auc", training="climb") == []


def test_open_pmc_is_cut_off_slipped_and_copied():
    average = {"dataset": "average", "task": "average"}
    assert notes("S3", "openpmc", model="BIOMEDICA", metric="recall@50", **average) == [
        "The mean of the 6 printed numbers is 0.063; the point has slipped, 0.063 is meant."
    ]
    assert notes("S2", "openpmc", model="BioMedCLIP", metric="recall@10", **average) == [
        "The mean is cut off, not rounded."
    ]
    assert notes("S2", "openpmc", model="PMC-OA", metric="recall@10", **average) == []
    same = "PMC-6M and OPEN-PMC-18M print the same number here, as in 10 of the 19 sets."
    assert notes("S4c", "openpmc", model="PMC-6M", dataset="bloodmnist", metric="f1") == [same]
    assert notes("S4c", "openpmc", model="BIOMEDICA", dataset="bloodmnist", metric="f1") == []
    assert notes("S4b", "openpmc", model="BIOMEDICA", dataset="octmnist", metric="f1") == []  # one may be by chance
    assert notes("S4a", "openpmc", model="BIOMEDICA", dataset="average", metric="f1") == [
        "The mean of the 5 printed numbers is 81.324."
    ]


@pytest.mark.parametrize(
    ("printed", "parts", "expected"),
    [
        ("0.55", ("0.50", "0.60"), None),
        ("0.56", ("0.505", "0.612"), None),  # 0.5585
        ("0.57", ("0.50", "0.60"), "the mean of the 2 printed numbers is 0.550"),
        ("0.50", ("", "0.50"), None),
        ("", ("0.5",), None),
        ("0.40", ("", "0.50"), "one printed number is 0.500; this mean would need 0.300 for `a`"),
        ("5.5", ("0.50", "0.60"), "the point has slipped, 0.55 is meant"),
    ],
)
def test_a_mean_is_compared_beyond_rounding(printed, parts, expected):
    own = [PaperNumber("climb", "0", CellKey(dataset=name), text) for name, text in zip("abc", parts, strict=False)]
    found = mean_problem(PaperNumber("climb", "0", CellKey(), printed), own)
    assert (found is None) if expected is None else expected in found


def test_the_tables_render_from_the_papers_alone():
    tables = {t.table.name: t for t in paper_tables()}
    assert len(tables) == 29
    whole = tables["table_16"].lines
    assert len(whole) == 27
    assert whole[-1]["dataset"] == "overall"
    assert whole[-1]["auc"] == "0.7867 †2"
    cmmd = next(line for line in whole if line["dataset"] == "cmmd")
    assert cmmd["auc"] == "– †1"
    assert tables["table_16"].footnotes[:2] == [
        "Accuracy of Tables 10 to 17 is the mean of per-class binary accuracies, not the share of records that are "
        "right.",
        "†1 Table 16 prints no number here.",
    ]
    late = tables["table_5"].lines[0]
    assert (late["model"], late["full los_days mae"], late["k=8 ihm48 auc"]) == ("fusion/late", "4.78", "0.524")
    jepa = next(line for line in tables["table_26"].lines if line["pretrain"] == "ptbxl")
    assert jepa["k=8 auc"] == ".472"
    assert tables["openpmc_table_S2"].lines[0]["image_to_text deepeyenet"] == "0.026 †1"
    rows = list(csv.DictReader(io.StringIO(tables["table_16"].csv())))
    assert len(rows) == 135
    assert (rows[0]["dataset"], rows[0]["paper"], rows[0]["value"]) == ("rspect", "0.9400", "")


def test_origins_and_marks():
    from climb_hf.registry import get_source

    benchmark = {name for name in source_names() if get_source(name).benchmark == "climb"}
    assert {row["source"] for row in read_table("origins.csv")} == benchmark
    assert origin_of("busi").marks == ("novel task", "understudied modality", "underrepresented region")
    assert origin_of("chexpert").marks == ()
    assert origin_of("vindr_cxr").marks == ("underrepresented region",)
    assert origin_of("pcam") is None
    novel = {name for name in benchmark if origin_of(name).is_novel_task}
    assert novel == {
        "bcss", "busi", "cbis_ddsm", "coronahack", "covid19_cxr", "isic2020", "jichi", "lndb", "ptbxl_finegrained",
        "tuev",
    }  # fmt: skip
