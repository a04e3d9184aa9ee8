"""The command line, run in this process: output, JSON, exit codes, examples in every help text."""

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import climb_hf
from climb_hf import cli
from climb_hf.cli.app import app, show_results
from climb_hf.results import ResultRow

runner = CliRunner()
ROOT = typer.main.get_command(app)


def commands(group=ROOT, path=()):
    """Return every command by its words; a group's commands in place of the group."""
    found = {}
    for name, command in group.commands.items():
        words = (*path, name)
        found.update(commands(command, words) if hasattr(command, "commands") else {words: command})
    return found


COMMANDS = sorted(ROOT.commands)


def run(*arguments):
    result = runner.invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_commands_of_the_foundation_exist():
    assert {"sources", "info", "doctor", "miniature", "train", "evaluate", "push", "quickstart"} <= set(COMMANDS)


@pytest.mark.parametrize("path", sorted(commands()), ids=" ".join)
def test_every_help_shows_an_example_that_parses(path):
    result = run(*path, "--help")
    assert result.exit_code == 0
    found = commands()[path]
    words = found.help.split("Example: ")[1].split()
    assert words[: len(path) + 1] == ["climb", *path]
    assert "Example: climb" in " ".join(result.output.split())
    parsed = found.make_context(path[-1], words[len(path) + 1 :], resilient_parsing=False)
    assert parsed.params


def test_sources_lists_filters_and_prints_json():
    table = run("sources").output
    assert all(name in table for name in climb_hf.list_sources())
    rows = json.loads(run("sources", "--family", "graph", "--json").output)
    assert [row["source"] for row in rows] == ["abcd", "abide", "ppi", "ppmi", "proteins"]
    assert [row["classes"] for row in rows] == [2, 2, 121, 2, 2]


def test_info_holds_what_a_user_must_know():
    text = run("info", "vindr_cxr").output
    for part in ("credentialed", "Lung tumor", "1. Create a PhysioNet account", "findings", "@article"):
        assert part in text
    facts = json.loads(run("info", "pad_ufes_20", "--json").output)
    akiec = next(row for row in facts["classes"] if "AKIEC" in row["class"])
    assert akiec["raw_values"] == ["ACK", "SCC"]
    assert "without a seed" in facts["unavailable_splits"]["paper"]


def test_doctor_counts_names_damage_and_gives_the_next_command(miniatures, tmp_path, monkeypatch):
    folder, _ = miniatures.copy("brain_tumor", tmp_path / "raw")
    (folder / "Training" / "no_tumor").joinpath("9.jpg").write_bytes(b"\xff\xd8 cut")
    text = run("doctor", "brain_tumor", "--data-dir", tmp_path / "raw").output
    assert "| train |    25 |      2870 |" in text
    assert "damaged or missing: `Training/no_tumor/9.jpg`" in text
    found = json.loads(run("doctor", "brain_tumor", "--data-dir", folder, "--json").output)
    assert found["found"] == {"train": 25, "test": 8}
    (tmp_path / "brain_tumor").symlink_to(folder, target_is_directory=True)
    monkeypatch.setenv("CLIMB_DATA", str(tmp_path))
    assert json.loads(run("doctor", "brain_tumor", "--json").output)["found"] == found["found"]
    assert sum(found["classes"].values()) == 32


def test_errors_of_ours_exit_with_1_and_no_traceback():
    result = subprocess.run(
        [sys.executable, "-c", "from climb_hf.cli import main; main()", "info", "ptb"], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "Did you mean `ptbxl`" in result.stderr
    assert "Traceback" not in result.stderr


def test_wrong_usage_exits_with_2():
    assert runner.invoke(app, ["info"]).exit_code == 2
    assert runner.invoke(app, ["nonsense"]).exit_code == 2


def test_interruption_is_quiet(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("climb_hf.cli.app.app", interrupted)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "stopped\n"


def test_miniature_says_synthetic_and_how_to_load(tmp_path):
    text = run("miniature", "proteins", tmp_path / "p", "--n", 12).output
    assert "12 synthetic records" in text
    assert "load_dataset('climb', 'proteins'" in text


def test_a_checkpoint_that_does_not_exist_is_one_message(tmp_path):
    from climb_hf.errors import AccessError
    from climb_hf.protocols.multitask import evaluate

    with pytest.raises(AccessError, match="expected a checkpoint"):
        evaluate(str(tmp_path / "absent"), {"brain_tumor": tmp_path})


def test_results_are_printed_as_strict_json(capsys):
    row = ResultRow(source="a", split="test", metric="auc", value=float("nan"), n=3, reason="one class")
    show_results([row], [], as_json=True)
    (found,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (found["value"], found["reason"]) == (None, "one class")
