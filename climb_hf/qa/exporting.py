"""CLIMB-QA for other frameworks: the files that lmms-eval, VLMEvalKit and lighteval read without being patched."""

import base64
import csv
import io
import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import yaml

from climb_hf.errors import OptionError
from climb_hf.metrics.qa import QA_METRICS

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["Framework", "export_questions"]

Framework = Literal["lmms-eval", "vlmevalkit", "lighteval"]
#: Columns of the Parquet files, beside `images`.
COLUMNS = (
    "id", "source", "group", "split", "modality", "question", "options", "answers", "answer", "multi_label",
    "uncertain", "duplicate_of",
)  # fmt: skip
_LIGHTEVAL = '''"""CLIMB-QA for lighteval: pass this file as `--custom-tasks`; the README beside it has the command."""

from pathlib import Path

import numpy as np
from lighteval.metrics.metrics_sample import SampleLevelComputation
from lighteval.metrics.utils.metric_utils import SampleLevelMetric
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc, SamplingMethod

from climb_hf.qa.frameworks import doc_to_text, doc_to_visual, exact_match, question_of

FOLDER = Path(__file__).resolve().parent / "data"
SOURCES = {sources}


def climb_qa_prompt(line, task_name=None):
    """Make a document of a row: all right options are gold."""
    options = list(line["options"])
    return Doc(
        task_name=task_name,
        query=doc_to_text(line),
        choices=options,
        gold_index=[options.index(answer) for answer in line["answers"]],
        images=doc_to_visual(line) or None,
        specific=question_of(line),
    )


class ClimbMatch(SampleLevelComputation):
    """Order-agnostic exact match of answer sets, read from free text."""

    def compute(self, doc, model_response, **kwargs):
        """Score one answer."""
        return exact_match(doc.specific, model_response.text[0])


climb_exact_match = SampleLevelMetric(
    metric_name="climb_exact_match",
    higher_is_better=True,
    category=SamplingMethod.GENERATIVE,
    sample_level_fn=ClimbMatch(),
    corpus_level_fn=np.mean,
)

TASKS_TABLE = [
    LightevalTaskConfig(
        name=f"climb_qa:{{source}}",
        prompt_function=climb_qa_prompt,
        hf_repo=str(FOLDER / source),
        hf_subset="default",
        hf_avail_splits=["{split}"],
        evaluation_splits=["{split}"],
        few_shots_split=None,
        few_shots_select=None,
        generation_size={tokens},
        metrics=[climb_exact_match],
        stop_sequence=None,
        version=0,
    )
    for source in SOURCES
]
'''
_SCORE = '''"""Score the answers that VLMEvalKit wrote: python score.py RESULTS.xlsx (or .tsv, .csv, .json) SOURCE"""

import json
import sys
from pathlib import Path

import pandas

from climb_hf.qa.scoring import score_predictions
from climb_hf.report.qa import answer_table
from climb_hf.report.tables import format_table

READERS = {".xlsx": pandas.read_excel, ".csv": pandas.read_csv, ".json": pandas.read_json}


def main(results, source):
    """Join answers and questions by `index`, and print the table."""
    file, folder = Path(results), Path(__file__).resolve().parent
    read = READERS.get(file.suffix, lambda path: pandas.read_csv(path, sep="\\t"))
    found = read(file)
    said = dict(zip(found["index"].astype(int), found["prediction"].fillna("").astype(str)))
    rows = [json.loads(line) for line in (folder / f"{source}.questions.jsonl").read_text("utf-8").splitlines()]
    answered = [{**row, "prediction": said[row["index"]]} for row in rows if row["index"] in said]
    missing = len(rows) - len(answered)
    if missing:
        print(f"{missing} of {len(rows)} questions have no answer and are not scored", file=sys.stderr)
    print(format_table(answer_table(score_predictions(answered, model=file.stem))))


if __name__ == "__main__":
    main(*sys.argv[1:3])
'''


def export_questions(
    parts: "Mapping[str, Dataset]",
    output_dir: str | Path,
    framework: Framework,
    *,
    split: str = "test",
    max_new_tokens: int = 64,
    synthetic: bool = False,
) -> list[Path]:
    """Write questions with their pictures as one framework reads them.

    The files hold the pictures: what the licence of a source says about copies holds for them.

    Args:
        parts (`Mapping[str, Dataset]`): questions by source, of `climb_hf.protocols.qa_run.load_questions`.
        output_dir (`str` or `Path`): where to.
        framework (`str`): `"lmms-eval"` (tasks in YAML over Parquet), `"vlmevalkit"` (one TSV per source, with a
            script that scores the answers) or `"lighteval"` (a file of custom tasks over Parquet).
        split (`str`, *optional*, defaults to `"test"`): the split of the questions.
        max_new_tokens (`int`, *optional*, defaults to `64`): tokens of an answer at most.
        synthetic (`bool`, *optional*, defaults to `False`): the data is synthetic; the README says so.

    Returns:
        `list[Path]`: what was written.

    Raises:
        OptionError: an unknown framework, or questions that it cannot read.
    """
    if framework not in get_args(Framework):
        raise OptionError(f"`framework` must be one of {list(get_args(Framework))}, got {framework!r}.")
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if framework == "vlmevalkit":
        written = [path for name, part in parts.items() for path in _write_tsv(folder, name, part)]
        (folder / "score.py").write_text(_SCORE, encoding="utf-8")
        written.append(folder / "score.py")
    else:
        written = [_write_parquet(folder, name, part, split) for name, part in parts.items()]
        write = _write_lmms if framework == "lmms-eval" else _write_lighteval
        written += write(folder, list(parts), split, max_new_tokens)
    readme = folder / "README.md"
    readme.write_text(_readme(framework, list(parts), split, synthetic), encoding="utf-8")
    return [*written, readme]


def _write_parquet(folder: Path, name: str, part: "Dataset", split: str) -> Path:
    """Write one source: `id, images, question, options, answers, source, modality` and what scoring needs."""
    import datasets
    from datasets.table import embed_table_storage

    path = folder / "data" / name / f"{split}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = part.with_format(None).rename_column("choices", "options").select_columns([*COLUMNS, "images"])
    kept = kept.cast_column("images", datasets.List(datasets.Image(mode="RGB")))
    embedded = kept.with_format("arrow").map(embed_table_storage, batched=True, batch_size=32, keep_in_memory=True)
    embedded.with_format(None).to_parquet(str(path), batch_size=32)
    return path


def _write_lmms(folder: Path, names: Sequence[str], split: str, tokens: int) -> list[Path]:
    """Write `_default_template_yaml`, a task per source, the group, and the functions they name."""
    functions = [
        "doc_to_messages", "doc_to_target", "doc_to_text", "doc_to_visual", "process_results",
        *(f"aggregate_{metric}" for metric in QA_METRICS),
    ]  # fmt: skip
    template = [
        "output_type: generate_until",
        f"test_split: {split}",
        *(f"{key}: !function utils.{key}" for key in functions[:5]),
        "generation_kwargs:",
        f"  max_new_tokens: {tokens}",
        "  temperature: 0",
        "  do_sample: false",
        "  num_beams: 1",
        "metric_list:",
    ]
    for metric in QA_METRICS:
        better = "false" if metric == "invalid" else "true"
        template += [
            f"  - metric: climb_{metric}",
            f"    aggregation: !function utils.aggregate_{metric}",
            f"    higher_is_better: {better}",
        ]
    template += ["metadata:", "  - version: 1.0"]
    imports = "".join(f"    {name},\n" for name in sorted(functions))
    files = {
        "_default_template_yaml": "\n".join(template) + "\n",
        "utils.py": f'"""Functions of the tasks of CLIMB-QA."""\n\nfrom climb_hf.qa.frameworks import (\n{imports})\n',
        "climb_qa.yaml": yaml.safe_dump({"group": "climb_qa", "task": [f"climb_qa_{name}" for name in names]}),
    }
    for name in names:
        task = {
            "task": f"climb_qa_{name}",
            "dataset_path": "parquet",
            "dataset_kwargs": {"data_files": {split: f"data/{name}/{split}.parquet"}},
            "include": "_default_template_yaml",
        }
        files[f"climb_qa_{name}.yaml"] = yaml.safe_dump(task, sort_keys=False)
    target = folder / "tasks" / "climb_qa"
    target.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (target / file).write_text(text, encoding="utf-8")
    return [target / file for file in files]


def _write_lighteval(folder: Path, names: Sequence[str], split: str, tokens: int) -> list[Path]:
    path = folder / "climb_qa_lighteval.py"
    path.write_text(_LIGHTEVAL.format(sources=json.dumps(list(names)), split=split, tokens=tokens), encoding="utf-8")
    return [path]


def _write_tsv(folder: Path, name: str, part: "Dataset") -> list[Path]:
    """Write one source as a table of VLMEvalKit: with options `A`, `B` … where one is right, else as an open question.

    Several pictures are a list of base64 texts beside a list of names, as its readers expect.
    """
    from climb_hf.qa.chat import pictures_of_row

    rows = part.with_format(None)
    first: Mapping[str, Any] = rows[0] if len(rows) else {"choices": [], "multi_label": False}
    is_choice = not first["multi_label"] and len(first["choices"]) <= len(string.ascii_uppercase)
    options = list(string.ascii_uppercase[: len(first["choices"])]) if is_choice else []
    columns = ["index", "image", "image_path", "question", *options, "answer", "category", "l2-category", "split"]
    table, asked = folder / f"CLIMB_QA_{name}.tsv", folder / f"{name}.questions.jsonl"
    with table.open("w", encoding="utf-8", newline="") as stream, asked.open("w", encoding="utf-8") as questions:
        writer = csv.DictWriter(stream, columns, delimiter="\t")
        writer.writeheader()
        for index, row in enumerate(rows):
            pictures = pictures_of_row(row)
            if not pictures:
                raise OptionError(
                    f"{name}: VLMEvalKit's tables need a picture for each question; `{row['id']}` has none."
                )
            encoded = [_png(picture) for picture in pictures]
            names = [f"{name}_{index}_{number}.png" for number in range(len(encoded))]
            line = {
                "index": index,
                "image": encoded[0] if len(encoded) == 1 else str(encoded),
                "image_path": names[0] if len(names) == 1 else str(names),
                "question": row["question"].split("\nOptions:\n")[0] if is_choice else row["question"],
                "answer": options[row["choices"].index(row["answers"][0])] if is_choice else row["answer"],
                "category": name,
                "l2-category": row["modality"],
                "split": row["split"],
                **dict(zip(options, row["choices"], strict=False)),
            }
            writer.writerow(line)
            kept = {key: value for key, value in row.items() if key not in ("images", "messages", "concepts")}
            questions.write(json.dumps({"index": index, **kept}, ensure_ascii=False) + "\n")
    return [table, asked]


def _png(picture: Any) -> str:  # noqa: ANN401 - a picture of Pillow
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _readme(framework: str, names: Sequence[str], split: str, synthetic: bool) -> str:
    first = names[0]
    how = {
        "lmms-eval": (
            "From this folder (the tasks name the Parquet files relative to it):\n\n```bash\n"
            "python -m lmms_eval --model MODEL --model_args pretrained=NAME --include_path tasks "
            "--tasks climb_qa\n```\n"
        ),
        "vlmevalkit": (
            f"```bash\nLMUData=$PWD python VLMEvalKit/run.py --data CLIMB_QA_{first} --model MODEL --mode infer\n"
            f"python score.py MODEL_CLIMB_QA_{first}.xlsx {first}\n```\n\nTables with columns `A`, `B` … are read as "
            "multiple-choice questions; those of multi-label sources as open questions, which `score.py` scores.\n"
        ),
        "lighteval": (
            f'```bash\nlighteval accelerate "model_name=NAME" "climb_qa:{first}" --vision-model '
            "--custom-tasks climb_qa_lighteval.py\n```\n"
        ),
    }[framework]
    what = "synthetic miniatures of " if synthetic else ""
    return (
        f"# CLIMB-QA for {framework}\n\nQuestions of {what}{', '.join(f'`{name}`' for name in names)}, split "
        f"`{split}`. Written by climb-hf, which must be installed beside {framework}.\n\n{how}\nThe files hold the "
        "pictures of the sources; the publishers' terms about copies hold for them (`climb info NAME`).\n"
    )
