"""`climb doctor`: releases told apart, tables and files counted, the cost of what is missing, the next command."""

import gzip
import json
import shutil

import pytest
from download_fixtures import publisher  # noqa: F401 - a fixture
from typer.testing import CliRunner

import climb_hf
from climb_hf.cli.app import app
from climb_hf.diagnosis import diagnose
from climb_hf.errors import AccessError, LayoutError
from climb_hf.readers.marker import MARKER
from climb_hf.versions import RELEASES, recognise


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.parametrize("name", climb_hf.list_sources())
def test_every_miniature_is_recognised(miniatures, name):
    folder, _ = miniatures(name)
    found = diagnose(name, folder)
    assert found.recognised
    assert sum(found.found.values()) > 0
    if name in RELEASES:
        assert found.release in {release.title for release in RELEASES[name] if release.is_right}
    assert json.loads(json.dumps(found.as_dict()))["name"] == name


def test_tables_folders_and_the_cost_of_missing_files(miniatures, tmp_path):
    folder, _ = miniatures.copy("ptbxl", tmp_path / "raw", n=16)
    whole = diagnose("ptbxl", folder)
    assert whole.release == "PTB-XL 1.0.x of PhysioNet"
    table = next(row for row in whole.tables if row["table"] == "ptbxl_database.csv")
    assert (table["found"], table["rows"]) == (True, 16)
    (row,) = [row for row in whole.folders if row["folder"] == "records500"]
    assert (row["expected"], row["present"], row["missing"], row["records_lost"]) == (32, 32, 0, 0)
    assert whole.next_command.startswith("python -c")
    assert "21,821 records fewer than published (99.9%); this copy is synthetic" in " ".join(whole.findings)

    gone = sorted((folder / "records500").rglob("*.dat"))[:3]
    for path in gone[:2]:
        path.unlink()
    gone[2].write_bytes(b"")
    part = diagnose("ptbxl", folder)
    (row,) = [row for row in part.folders if row["folder"] == "records500"]
    assert (row["present"], row["missing"], row["damaged"], row["records_lost"]) == (30, 2, 1, 3)
    assert "`records500`: 2 of 32 files are missing (6.2%), which costs 3 records" in part.findings
    assert sum(part.lost.values()) == 3
    assert part.next_command == f"climb download ptbxl --to {folder} --accept-license"
    text = run("doctor", "ptbxl", "--data-dir", folder).output
    assert "| records500 |       32 |      30 |       2 |       1 |            3 |" in text


def test_rows_of_compressed_tables(miniatures, tmp_path):
    folder, _ = miniatures.copy("ptbxl", tmp_path / "raw", n=16)
    table = folder / "ptbxl_database.csv"
    with gzip.open(folder / "x.csv.gz", "wb") as stream:
        stream.write(table.read_bytes().rstrip(b"\n"))
    from climb_hf.diagnosis import _rows

    assert _rows(folder / "x.csv.gz") == _rows(table) == 16
    (folder / "x.csv.gz").write_bytes((folder / "x.csv.gz").read_bytes()[:200])
    assert _rows(folder / "x.csv.gz") is None


@pytest.mark.parametrize(
    ("name", "files", "title"),
    [
        ("mimic_cxr", ["cxr-record-list.csv.gz", "files/p10/p1/s1.txt"], "not MIMIC-CXR-JPG"),
        ("mimic_cxr", ["files/p10/p1/s1/a.dcm"], "MIMIC-CXR (DICOM files and reports), not MIMIC-CXR-JPG"),
        ("mimic_cxr", ["hosp/admissions.csv.gz"], "MIMIC-IV, not MIMIC-CXR-JPG"),
        ("hemorrhage", ["ct_scans/1.nii", "hemorrhage_diagnosis_raw_ct.csv"], "NIfTI volumes of 75 patients"),
        ("aptos2019", ["train_1.csv", "valid.csv"], "re-upload of APTOS 2019"),
        ("vindr_cxr", ["train.csv", "train/a.dicom"], "Kaggle competition"),
        ("brain_tumor", ["Training/notumor/1.jpg", "Testing/notumor/1.jpg"], "the later set of 7,023 images"),
        ("kits23", ["data/case_00000/imaging.nii.gz", "data/kits.json"], "KiTS19"),
        ("bcss", ["BCSS_512/train_512/1.png"], "tiles made from BCSS"),
    ],
)
def test_another_release_is_named_as_such(tmp_path, name, files, title):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    assert title in recognise(name, tmp_path).title
    found = diagnose(name, tmp_path)
    assert not found.recognised
    assert title in found.findings[0]
    assert "Get " in found.findings[0]
    result = run("doctor", name, "--data-dir", tmp_path)
    assert result.exit_code == 1
    assert f"{name}: NOT the layout" in result.output


def test_the_folder_of_another_source_and_an_absent_one(miniatures, tmp_path):
    folder, _ = miniatures("ptbxl", n=16)
    found = diagnose("chexpert", folder)
    assert any("has the layout of `ptbxl`" in finding for finding in found.findings)
    assert any("expected at the root: `train.csv`" in finding for finding in found.findings)
    assert {row["folder"] for row in found.folders} >= {"ptbxl_database.csv", "records500"}
    assert found.next_command.startswith("climb info chexpert")
    assert found.lost == dict(climb_hf.get_source("chexpert").published_splits)
    with pytest.raises(AccessError, match=r"1\. "):
        diagnose("chexpert", tmp_path / "nothing")


def test_an_unfinished_download_is_the_first_finding(publisher, miniatures, tmp_path):  # noqa: F811
    folder, _ = miniatures.copy("brain_tumor", tmp_path / "raw")
    (folder / ".climb").mkdir()
    facts = {"source": "brain_tumor", "status": "unfinished"}
    (folder / ".climb" / "download.json").write_text(json.dumps(facts))
    found = diagnose("brain_tumor", folder)
    assert "did not end" in found.findings[0]
    assert found.next_command == f"climb download brain_tumor --to {folder} --accept-license"


def test_a_synthetic_copy_is_not_to_be_completed_with_real_files(miniatures, tmp_path):
    folder, _ = miniatures.copy("ptbxl", tmp_path / "raw", n=16)
    assert "climb download" not in " ".join(diagnose("ptbxl", folder).findings)
    for marker in folder.rglob(MARKER):
        marker.unlink()  # as if it were a part of the real data
    assert "(99.9%); `climb download ptbxl --to" in " ".join(diagnose("ptbxl", folder).findings)


def test_every_layout_error_points_to_the_doctor(miniatures, tmp_path):
    for name in ("ptbxl", "chexpert", "geo", "lndb", "mimic_cxr", "vindr_mammo"):
        (tmp_path / name).mkdir()
        with pytest.raises(LayoutError, match=f"climb doctor {name}"):
            climb_hf.load_dataset(name, tmp_path / name, cache_dir=tmp_path / "cache")
    folder, _ = miniatures.copy("vindr_mammo", tmp_path / "raw")
    shutil.move(folder / "breast-level_annotations.csv", tmp_path / "gone.csv")
    with pytest.raises(LayoutError, match="climb doctor vindr_mammo"):
        climb_hf.load_dataset("vindr_mammo", folder, cache_dir=tmp_path / "cache")
