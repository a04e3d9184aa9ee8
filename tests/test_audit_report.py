"""Reports of an audit: text, JSON, a page that stands alone, the licence guard of thumbnails, exit codes."""

import json
import re

import pytest
from typer.testing import CliRunner

import climb_hf
from climb_hf.auditing import AuditReport, Finding
from climb_hf.cli.app import app

runner = CliRunner()


@pytest.fixture
def tumor(miniatures):
    return miniatures("brain_tumor")[0]


def run(*arguments):
    result = runner.invoke(app, ["audit", *(str(a) for a in arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_function_is_an_attribute_of_the_package_whatever_was_imported():
    import climb_hf.auditing.hamming

    assert callable(climb_hf.audit)
    assert climb_hf.audit is climb_hf.auditing.audit
    assert "audit" in dir(climb_hf)


def test_the_command_prints_a_table_or_json_and_writes_both_files(tumor, tmp_path):
    text = run(f"brain_tumor={tumor}", "--cache-dir", tmp_path, "--num-proc", 1, "--to", tmp_path / "out").output
    assert "| leak     | identical | brain_tumor train / brain_tumor test |       1 |" in text
    found = json.loads(run(f"brain_tumor={tumor}", "--cache-dir", tmp_path, "--num-proc", 1, "--json").stdout)
    assert json.loads((tmp_path / "out" / "audit.json").read_text()) == found
    (leak,) = [f for f in found["findings"] if f["severity"] == "leak"]
    assert (leak["check"], leak["count"], len(leak["ids"])) == ("identical", 1, 1)
    assert leak["pairs"][0]["first"]["split"] == "train"
    assert str(tumor) not in json.dumps(found)
    assert found["settings"]["radius"] == 8
    page = (tmp_path / "out" / "audit.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2  # the leak, and the copy within train
    assert not re.search(r"(src|href)=[\"'](?!data:)", page)
    assert leak["ids"][0] in page
    assert str(tumor) not in page


def test_exit_codes_follow_what_was_asked(tumor, tmp_path):
    arguments = [f"brain_tumor={tumor}", "--cache-dir", tmp_path, "--no-near"]
    assert run(*arguments).exit_code == 0
    assert run(*arguments, "--fail-on", "leak").exit_code == 1
    assert run(*arguments, "--fail-on", "warning").exit_code == 1
    assert run(*arguments, "--fail-on", "leak", "--split", "train").exit_code == 0
    assert runner.invoke(app, ["audit", *map(str, arguments), "--fail-on", "note"]).exit_code == 2
    assert runner.invoke(app, ["audit"]).exit_code == 2


def test_pictures_of_data_under_agreement_are_shown_on_request_only(miniatures, tmp_path):
    root, _ = miniatures("brain_mri")  # may not be passed on, and holds copies
    report = climb_hf.audit({"brain_mri": root}, cache_dir=tmp_path, progress=False)
    assert report.select("identical")[0].pairs
    by_default = report.write_html(tmp_path / "a.html").read_text()
    assert "data:image" not in by_default
    assert "Pictures of brain_mri are left out (licence" in by_default
    assert "--thumbnails" in by_default
    shown = report.write_html(tmp_path / "b.html", thumbnails=True).read_text()
    assert "data:image/jpeg" in shown
    assert "must not be passed on" in shown
    assert "data:image" not in report.write_html(tmp_path / "c.html", thumbnails=False).read_text()


def test_signals_are_drawn_and_volumes_too(miniatures, tmp_path):
    for name, kind in (("georgia", "image/svg+xml"), ("kits23", "image/jpeg")):
        report = climb_hf.audit({name: miniatures(name)[0]}, cache_dir=tmp_path, progress=False, num_proc=1)
        pairs = [pair for finding in report.findings for pair in finding.pairs]
        assert pairs
        page = report.write_html(tmp_path / f"{name}.html", max_pictures=1, notice="synthetic").read_text()
        assert f"data:{kind};base64," in page
        assert '<p class="notice">synthetic</p>' in page


def test_a_report_without_findings_says_so(tmp_path):
    report = AuditReport([{"source": "a", "split": "test", "records": 1, "groups": 1}], [], [], {}, {})
    assert report.worst() is None
    assert str(report).endswith("nothing found")
    assert "nothing found" in report.write_html(tmp_path / "a.html").read_text()
    report.findings.append(Finding("values", "note", "a", 1, "text"))
    assert report.worst() == "note"
    assert report.rows() == [{"severity": "note", "check": "values", "where": "a", "records": 1, "finding": "text"}]
