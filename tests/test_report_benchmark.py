"""Results beside the papers' numbers: cells, notes, seeds, refusals, figures, the page, the command."""

import csv
import math
import re

import pytest
from report_rows import predictions, row, vision_run, write
from typer.testing import CliRunner

import climb_hf
from climb_hf.cli.app import app
from climb_hf.errors import AccessError, OptionError, SchemaError
from climb_hf.report import benchmark_figures as draw
from climb_hf.report import benchmark_points as points
from climb_hf.report.benchmark import write_benchmark_report
from climb_hf.report.cells import cells_of, find_results
from climb_hf.report.naming import Names
from climb_hf.report.paper import TABLES, table_of
from climb_hf.report.side_by_side import render
from climb_hf.report.taking import take

NAN = math.nan


@pytest.fixture
def cells(tmp_path):
    def make(*rows, names=()):
        return cells_of(find_results([write(tmp_path, *rows)]), Names.parse(names))

    return make


def table(own, number, paper="climb", mode="against"):
    layout = table_of(number, paper)
    return render(layout, take(layout, own), mode)


def line(rendered, **where):
    return next(own for own in rendered.lines if all(own[name] == value for name, value in where.items()))


def test_a_table_by_source_stands_beside_the_papers(cells):
    found = table(cells(*vision_run(), row("cmmd", NAN)), "16")
    chexpert = line(found, dataset="chexpert")
    assert chexpert["auc"] == "0.7000 [0.6500, 0.7500] (n=100)"
    assert chexpert["auc: paper"] == "0.8037"
    assert chexpert["auc: difference"] == "-0.1037"
    assert chexpert["sensitivity: difference"] == "+0.1278"
    assert line(found, dataset="rspect")["auc"] == ""
    cmmd = line(found, dataset="cmmd")
    assert cmmd["auc"] == "n/a †2"
    assert "†2 Ours is undefined: no class has both outcomes." in found.footnotes
    overall = line(found, dataset="overall")
    assert overall["auc"] == "0.8000 [0.7800, 0.8200] (3 sources, n=300) †4"
    assert overall["auc: paper"] == "0.7867 †3"
    assert (
        "†4 Ours is the mean of 3 sources, the paper's of 25; over the same as ours the paper's numbers have the mean "
        "0.7896." in found.footnotes
    )
    assert any("definition `climb`" in text for text in found.remarks)
    record = next(r for r in found.records if r["dataset"] == "chexpert" and r["metric"] == "auc")
    assert (record["value"], record["low"], record["n"], record["paper"], record["difference"]) == (
        0.7, 0.65, 100, "0.8037", -0.1037,
    )  # fmt: skip


def test_modality_means_stand_in_table_2(cells):
    found = table(cells(*vision_run(definition="paper")), "2")
    assert {own["model"] for own in found.lines} == {"ConvNeXtV2"}
    chest = line(found, dataset="chest_xray")
    assert chest["auc"] == "0.750 [0.720, 0.780] (2 sources, n=200) †1"
    assert chest["auc: difference"] == "-0.067"
    assert "the paper's of 5; over the same as ours the paper's numbers have the mean 0.802." in found.notes[0]
    assert found.remarks == []  # the paper's own definition


def test_without_the_paper_only_ours_is_shown(cells):
    found = table(cells(*vision_run()), "2", mode="ours")
    assert list(found.lines[0]) == ["model", "chest_xray auc", "ultrasound auc", "overall auc"]
    assert found.lines[0]["overall auc"] == "0.800 [0.780, 0.820] (3 sources, n=300)"


def test_definitions_never_share_a_column(cells):
    found = table(cells(*vision_run(), *vision_run(definition="paper", seed=43)), "16")
    chexpert = line(found, dataset="chexpert")
    assert {"auc: definition climb", "auc: definition paper", "auc: definition paper − paper"} <= set(chexpert)
    assert "auc" not in chexpert


def test_two_models_of_one_row_get_columns_of_their_own(cells):
    second = vision_run(model="cnx-large", settings={"architecture": "convnextv2_large"})
    found = table(cells(*vision_run(), *second), "16")
    assert {"auc: cnx", "auc: cnx-large", "auc: cnx-large − paper"} <= set(found.lines[0])
    assert line(found, dataset="busi")["auc: cnx-large"].startswith("0.9000")


def test_a_model_of_no_paper_gets_the_layout_alone(tmp_path):
    results = write(tmp_path / "in", *vision_run(model="mine", settings={"architecture": "timm/other"}))
    write_benchmark_report([results], tmp_path / "out", against=["paper"])
    assert [file.name for file in (tmp_path / "out" / "tables").glob("*.md")] == ["own_multitask.md"]
    text = (tmp_path / "out" / "tables.md").read_text()
    assert text.startswith("## mine, multitask training, by source\n")
    assert "0.700 [0.650, 0.750] (n=100)" in text
    assert "chest_xray" in text
    assert "paper" not in text


def test_given_names_place_a_checkpoint_and_join_its_seeds(cells):
    runs = [
        row("busi", value, model=f"run-{seed}", seed=seed, recipe_hash=f"h{seed}", settings={"architecture": "x"})
        for seed, value in enumerate((0.8, 0.9, 1.0))
    ]
    found = table(cells(*runs, names=["run-*=convnextv2"]), "16")
    assert line(found, dataset="busi")["auc"] == "0.9000 ± 0.1000 (3 seeds, n=100)"
    record = next(r for r in found.records if r["dataset"] == "busi" and r["metric"] == "auc")
    assert (record["sd"], record["seeds"]) == (0.1, 3)
    with pytest.raises(OptionError, match=r"no table has a row `ResNet`; rows are .*ConvNeXtV2"):
        Names.parse(["a=ResNet"])
    with pytest.raises(OptionError, match="takes NAME=ROW"):
        Names.parse(["a"])


def test_seeds_are_joined_and_an_undefined_one_is_said(cells):
    runs = [row("busi", value, seed=seed) for seed, value in enumerate((0.8, 0.9, NAN))]
    found = table(cells(*runs), "16")
    assert line(found, dataset="busi")["auc"] == "0.8500 ± 0.0707 (2 seeds, n=100) †1"
    assert "†1 Undefined for 1 of 3 seeds." in found.footnotes


def test_the_same_number_twice_is_refused(cells, tmp_path):
    with pytest.raises(
        SchemaError, match=r"`auc` of `busi` by `ConvNeXtV2` stands twice with seed 42 \(0\.8 and 0\.9\)"
    ):
        cells(row("busi", 0.8), row("busi", 0.9))
    one, two = write(tmp_path / "a", row("busi", 0.8)), write(tmp_path / "b", row("busi", 0.8))
    with pytest.raises(SchemaError, match=r"both are equal.*a/results\.jsonl.*b/results\.jsonl"):
        cells_of(find_results([one, two]), Names())


def test_a_run_without_a_seed_is_not_taken_for_another_seed(cells):
    with pytest.raises(SchemaError, match=r"`auc` of `busi`.* stands without a seed in .* and with seed 42 in .*"):
        cells(row("busi", 0.8), row("busi", 0.9, seed=None))


def test_averages_over_other_sources_by_seed_are_computed_again(tmp_path):
    second = [own for own in vision_run(seed=43) if own.level == "source" and own.source != "busi"]
    second.append(row("all", 0.75, level="overall", n_defined=2, seed=43))
    paths = [write(tmp_path / "a", *vision_run()), write(tmp_path / "b", *second)]
    overall = line(table(cells_of(find_results(paths), Names()), "16"), dataset="overall")
    assert overall["auc"].startswith("0.8000 (3 sources, n=300)")  # not the mean of 0.8 over 3 and 0.75 over 2


def test_sources_of_several_files_get_a_mean_without_an_interval(tmp_path):
    for name, value in (("mimic_cxr", 0.8), ("chexpert", 0.6)):
        average = row("all", value, level="overall", n_defined=1)
        write(tmp_path / name, row(name, value), row("Chest X-ray", value, level="modality", n_defined=1), average)
    own = cells_of(find_results([tmp_path]), Names())
    overall = line(table(own, "16"), dataset="overall")
    assert overall["auc"].startswith("0.7000 (2 sources, n=200)")
    chest = line(table(own, "2"), dataset="chest_xray")
    assert chest["auc"].startswith("0.700 (2 sources, n=200)")
    assert any("the mean over sources of several files" in text.lower() for text in table(own, "2").notes)


def test_one_model_per_source_fills_table_21_with_top1(cells):
    single = {"training": "single-task"}
    rows = [
        row(name, value, metric, model=name, recipe_hash=name, settings=single)
        for name, own in (("busi", "top1"), ("chexpert", "exact_match"))
        for metric, value in (("auc", 0.7), (own, 0.6), ("accuracy", 0.9))
    ]
    found = table(cells(*rows), "21")
    assert line(found, dataset="busi")["accuracy"] == "0.6000 (n=100)"
    assert line(found, dataset="chexpert")["accuracy"] == "0.6000 (n=100)"
    assert line(found, dataset="chexpert")["auc: paper"].startswith("–")
    assert line(found, dataset="chexpert")["auc: difference"] == ""
    assert "overall" not in {own["dataset"] for own in found.lines}


def test_graphs_are_averaged_over_modalities_as_in_the_paper(cells):
    graph = {"architecture": "graph_gcn"}
    rows = [row(name, value, settings=graph) for name, value in (("ppmi", 0.9), ("abide", 0.7), ("ppi", 0.6))]
    rows += [
        row("BrainNet", 0.8, level="modality", n_defined=2, settings=graph),
        row("Molecule", 0.6, level="modality", n_defined=1, settings=graph),
        row("all", 2.2 / 3, level="overall", n_defined=3, settings=graph),
    ]
    found = line(table(cells(*rows), "18"), dataset="overall")
    assert found["auc"].startswith("0.700 (2 sources")  # not 0.733
    assert found["auc: difference"] == "-0.083"


def test_transfer_fills_tables_24_26_and_27(cells):
    def run(source, value, k, model, trained, **settings):
        own = {"k": k, "method": "full", "trained_on": trained, **settings}
        return row(source, value, protocol="transfer", model=model, settings=own)

    three = ["chapman_shaoxing", "cpsc", "georgia"]
    rows = [
        run("tuev", 0.6, 8, "prest", []),
        run("ptbxl_finegrained", 0.7, 8, "jepa", three, architecture="ecg_jepa"),
        run("cpsc", 0.9, "full", "jepa-all", [*three, "ptbxl"], architecture="ecg_jepa"),
        run("cpsc", 0.8, "full", "jepa-two", ["cpsc", "georgia"], architecture="ecg_jepa"),
        row("tuev", 0.5, protocol="transfer", model="prest", settings={"k": 8, "aggregate": "mean over seeds"}),
    ]
    own = cells(*rows, names=["prest=BIOT:BIOT-pretrain-PREST"])
    prest = line(table(own, "24"), pretrain="BIOT-pretrain-PREST", shots="8")
    assert (prest["auc"], prest["auc: paper"], prest["auc: difference"]) == ("0.600 (n=100)", ".754", "-0.154")
    fine = line(table(own, "26"), model="ECG-JEPA", pretrain="climb-without-ptbxl", shots="8")
    assert (fine["auc"], fine["auc: paper"]) == ("0.700 (n=100)", ".760")
    tuned = line(table(own, "27"), pretrain="climb", dataset="cpsc")
    assert (tuned["auc"], tuned["auc: difference"]) == ("0.900 (n=100)", "+0.057")
    other = line(table(own, "27"), pretrain="cpsc + georgia", dataset="cpsc")
    assert (other["auc"], other["auc: paper"]) == ("0.800 (n=100)", "")  # not what the paper pretrained on


def test_units_fills_table_28_and_fusion_table_5(cells):
    units = [
        row("cpsc", 0.8, settings={"architecture": "units", "training": name}) for name in ("multitask", "single-task")
    ]
    fusion = {"strategy": "mlp", "task": "ihm48", "shots": "full", "modalities": ["image", "text"]}
    rows = [*units, row("mimic_iv", 0.9, protocol="fusion", model="mlp-1", settings=fusion)]
    own = cells(*rows, names=["mlp-*=fusion/mlp:climb"])
    found = table(own, "28")
    assert line(found, training="climb", dataset="cpsc")["auc: difference"] == "-0.071"
    assert line(found, training="cpsc", dataset="cpsc")["auc: difference"] == "+0.159"
    mlp = line(table(own, "5"), model="fusion/mlp", pretrain="climb", shots="full", task="ihm48")
    assert (mlp["auc"], mlp["auc: difference"]) == ("0.900 (n=100)", "-0.061")


def test_fusion_of_no_printed_table_gets_one_line_per_strategy(tmp_path):
    def run(strategy, modalities, value):
        settings = {"strategy": strategy, "task": "ihm48", "shots": 8, "modalities": modalities, "frozen": []}
        return row("mimic_iv", value, protocol="fusion", model=f"{strategy}-{modalities}-42", settings=settings)

    rows = [run("mlp", ["image", "text"], 0.9), run("alone", ["image"], 0.7), run("alone", ["text"], 0.6)]
    write_benchmark_report([write(tmp_path, *rows)], tmp_path / "out", against=["paper"])
    text = (tmp_path / "out" / "tables" / "own_fusion.md").read_text()
    assert [own.split("|")[1:4] for own in text.splitlines() if own.startswith("| fusion")] == [
        [" fusion/mlp         ", " –        ", " 0.900 (n=100) "],
        [" fusion/alone image ", " –        ", " 0.700 (n=100) "],
        [" fusion/alone text  ", " –        ", " 0.600 (n=100) "],
    ]


def test_methods_of_transfer_have_columns_of_their_own(cells):
    rows = [row("tuev", value, protocol="transfer", model="prest", settings={"k": 8, "method": method})
            for method, value in (("full", 0.6), ("lora", 0.7))]  # fmt: skip
    prest = line(table(cells(*rows, names=["prest=BIOT:BIOT"]), "24"), pretrain="BIOT", shots="8")
    assert (prest["auc: method full"], prest["auc: method lora − paper"]) == ("0.600 (n=100)", "+0.012")


def test_seeds_of_a_probe_are_joined(cells):
    rows = [row("bach", value, "f1", protocol="linear_probe", model="mini", seed=seed,
                settings={"selection": "last epoch", "probe": {"epochs": 40, "seed": seed}})
            for seed, value in enumerate((0.5, 0.7))]  # fmt: skip
    f1 = line(table(cells(*rows, names=["mini=PMC-OA"]), "S4c", "openpmc"), dataset="bach")
    assert f1["f1"] == "60.00 ± 14.14 (2 seeds, n=100)"


def test_qa_fills_tables_4_and_22_each_with_its_average(cells):
    def answer(source, value, **facts):
        settings = {"training": "zero-shot", **facts.pop("settings", {})}
        return row(source, value, "accuracy", protocol="qa", model="llava-med-v1.5", settings=settings, **facts)

    own = cells(
        answer("busi", 0.5),
        answer("Ultrasound", 0.6, level="modality", n_defined=1),
        answer("all", 0.1, level="overall", settings={"average": "sources"}),
        answer("all", 0.2, level="overall", settings={"average": "modalities"}),
    )
    where = {"model": "LLaVA-Med", "training": "zero-shot"}
    assert line(table(own, "22"), dataset="overall", **where)["accuracy"].startswith("0.100")
    assert line(table(own, "4"), dataset="average", **where)["accuracy"].startswith("0.200")
    assert line(table(own, "4"), dataset="ultrasound", **where)["accuracy: difference"] == "+0.152"


def test_open_pmc_tables(cells):
    def found(source, value, way, positives="row"):
        split = climb_hf.get_source(source).evaluation_split  # of quilt1m `validation`
        return row(source, value, "recall@10", protocol="retrieval", model="mini", split=split,
                   settings={"direction": way, "positives": positives, "split": "evaluation"})  # fmt: skip

    rows = [
        found(source, 0.1 * (1 + place), way)
        for place, source in enumerate(("mimic_cxr", "quilt1m", "deepeyenet"))
        for way in ("image_to_text", "text_to_image", "average")
    ]
    probe = [row(name, 0.8, "f1", protocol="linear_probe", model="mini", n=624, settings={"selection": "last epoch"})
             for name in ("pneumoniamnist", "breastmnist")]  # fmt: skip
    best = row("breastmnist", 0.9, "f1", protocol="linear_probe", model="mini",
               settings={"selection": "best on the scored split"})  # fmt: skip
    own = cells(*rows, found("quilt1m", 0.9, "image_to_text", "text"), *probe, best, names=["mini=open-pmc-18m"])
    recall = table(own, "S2", "openpmc")
    assert {text["model"] for text in recall.lines} == {"OPEN-PMC-18M"}
    average = line(recall, task="average")
    assert (average["recall@10"], average["recall@10: difference"]) == ("0.200 (n=600)", "+0.169")
    assert average["recall@10: paper"].startswith("0.031 †")
    f1 = line(table(own, "S4a", "openpmc"), model="OPEN-PMC-18M")
    assert (f1["breastmnist"], f1["breastmnist: difference"]) == ("80.00 (n=100)".replace("100", "624"), "+2.16")
    assert f1["average"].startswith("80.00")


def test_files_without_a_result_are_refused(tmp_path):
    (tmp_path / "results.jsonl").write_text("")
    with pytest.raises(SchemaError, match="there is no result in"):
        write_benchmark_report([tmp_path], tmp_path / "report")


def test_the_report_is_one_page_that_needs_nothing_else(tmp_path):
    rows = vision_run(synthetic=True)
    rows += [
        row("busi", 0.85, subgroup=f"sex={sex}", interval=(0.8, 0.9), synthetic=True) for sex in ("female", "male")
    ]
    rows += [row("busi", 0.8, settings={"training": "single-task"}, synthetic=True)]
    write(tmp_path / "in", *rows)
    predictions(tmp_path / "in", [[2.0, 0.0], [0.0, 1.0], [1.0, 0.5]], [0, 1, 0])
    page = write_benchmark_report([tmp_path / "in"], tmp_path / "out", against=["paper", "openpmc"])
    text = page.read_text()
    assert "All data behind these numbers is synthetic" in text
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
    assert "<script" not in text
    assert "Table 16: ConvNeXtV2" in text
    assert "Where the numbers come from: runs" in text
    assert "f00d" in text
    figures = {file.name for file in (tmp_path / "out" / "figures").iterdir()}
    assert {f"{name}.{suffix}" for name in ("composition", "auc_difference", "auc_difference_paper", "modalities",
            "subgroups_1", "reliability_1") for suffix in ("png", "svg")} <= figures  # fmt: skip
    with (tmp_path / "out" / "tables" / "table_2.csv").open() as stream:
        found = [own for own in csv.DictReader(stream) if own["dataset"] == "overall" and own["metric"] == "auc"]
    assert [(own["value"], own["paper"]) for own in found] == [("0.8", ".787")]


def test_figures_hold_every_point(cells):
    pairs = points.paper_differences()
    assert len(pairs) == 23  # 26 sources less three dashes
    assert pairs[0].source == "covid_us"
    figure = draw.difference_figure(pairs)
    assert len(figure.axes[0].patches) == 23
    marks = {own.get_label(): len(own.get_xdata()) for own in figure.axes[0].lines if own.get_label()[0] != "_"}
    assert marks == {"novel task": 8, "understudied modality": 3, "underrepresented region": 5}
    rows, unknown = points.composition_rows()
    assert len(draw.composition().axes[0].patches) == len(rows)
    assert {"iiic", "tuev"} == set(unknown)
    assert next(own for own in rows if own["modality"] == "Mammography")["samples"] == 24_697
    runs = [
        row("tuev", 0.5 + 0.1 * place + 0.01 * seed, protocol="transfer", model=model, seed=seed, settings={"k": k})
        for model in ("a", "b") for place, k in enumerate((8, 1, "full")) for seed in (0, 1, 2)
    ]  # fmt: skip
    curves = points.curve_points(cells(*runs))
    assert curves["tuev"]["a"]["8"].value == pytest.approx(0.51)
    low, high = curves["tuev"]["a"]["8"].interval
    assert (low, high) == (pytest.approx(0.51 - 0.02484, abs=1e-5), pytest.approx(0.51 + 0.02484, abs=1e-5))
    axes = draw.few_shot_figure(curves).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "8", "full"]
    assert sorted(len(own.get_xdata()) for own in axes.lines) == [2] * 6 + [3] * 2
    bars = draw.fusion_figure(points.fusion_points([], "auc", of_paper=True)).axes[0]
    assert len(bars.patches) == 12
    series = points.paper_modality_points()
    drawn = draw.modality_figure(series).axes[0].lines
    assert sum(len(own.get_xdata()) for own in drawn if own.get_label() in series) == 48


def test_differences_pair_only_what_belongs_together(cells):
    single = {"training": "single-task"}
    own = cells(
        *vision_run(), row("busi", 0.8, settings=single), row("chexpert", 0.8, definition="paper", settings=single)
    )
    found = points.auc_differences(own)
    assert {name: [(p.source, round(p.value, 3)) for p in own] for name, own in found.items()} == {
        "ConvNeXtV2": [("busi", 0.1)]
    }
    other = {"architecture": "timm/x"}
    named = [row(name, 0.7, model=name, settings={**single, **other}) for name in ("busi", "chexpert")]
    own = cells(*vision_run(model="joint", settings=other), *named, names=["joint=ConvNeXtV2"])
    assert [len(pairs) for pairs in points.auc_differences(own).values()] == [2]  # paired by architecture
    assert {c.place.key.model for c in own if c.place.key.training == "single-task"} == {"timm/x"}


def test_bad_input_is_named(tmp_path):
    with pytest.raises(AccessError, match="is not there"):
        find_results([tmp_path / "no.jsonl"])
    with pytest.raises(AccessError, match=r"holds no `results\.jsonl`"):
        find_results([tmp_path])
    file = write(tmp_path / "old", row("busi", 0.8))
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 9'))
    with pytest.raises(SchemaError, match=r"old/results\.jsonl`, line 1: results of format 9"):
        find_results([file])
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SchemaError, match=r"old/results\.jsonl`: expected lines of JSON in UTF-8"):
        find_results([file])
    with pytest.raises(OptionError, match="nothing to report"):
        write_benchmark_report([], tmp_path)
    with pytest.raises(OptionError, match="`--against` must be one of paper, openpmc"):
        write_benchmark_report([], tmp_path, against=["nature"], paper_only=True)


def test_the_command(tmp_path):
    write(tmp_path / "run", *vision_run())
    arguments = ["report", tmp_path / "run", "--to", tmp_path / "out", "--against", "paper", "--paper-model", "x=GCN"]
    result = CliRunner().invoke(app, [str(own) for own in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    assert "report.html" in result.output
    assert "0.8000 [0.7800, 0.8200]" in (tmp_path / "out" / "tables" / "table_16.md").read_text()
    result = CliRunner().invoke(
        app, ["report", "--paper-only", "--to", str(tmp_path / "paper")], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert len(list((tmp_path / "paper" / "tables").glob("*.csv"))) == len(TABLES)
