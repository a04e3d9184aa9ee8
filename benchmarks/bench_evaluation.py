"""Evaluation against its own forward passes: what gathering rows, metrics and intervals cost beyond the model.

The reference is a plain loop over the same DataLoader and collator that calls the model and drops its output; ours is
`ClimbTrainer.predict_rows` and the scores with 1,000 patient-cluster resamples. Both run alternately.
"""

import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from bench_trainer import CLASSES, VOCABULARY, Collator, _model, _rows
from torch.utils.data import DataLoader

from climb_hf.training.arguments import ClimbTrainingArguments
from climb_hf.training.evaluation import Scheme, score_rows
from climb_hf.training.trainer import ClimbTrainer

BATCH, REPEATS, COPIES = 24, 5, 6
REQUIRED = 0.95  # of the plain loop's speed: at most 5 % beyond the forward passes


def run() -> list[dict]:
    """Return one row: records per second of both, and the median ratio of the pairs."""
    torch.set_num_threads(1)
    rows = [{**row, "id": f"{copy}/{row['id']}", "group": row["id"]} for copy in range(COPIES) for row in _rows()]
    model, collator = _model().eval(), Collator()
    arguments = ClimbTrainingArguments(None, per_device_eval_batch_size=BATCH, use_cpu=True, disable_tqdm=True)
    trainer = ClimbTrainer(model, arguments, collator, eval_dataset=rows, modalities={})
    scheme = Scheme(VOCABULARY, CLASSES, {"a": True, "b": False}, {})
    ours, reference = [], []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        predicted = trainer.predict_rows(rows)
        score_rows(predicted, predicted["sources"], scheme, n_bootstrap=1000)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        with torch.inference_mode():
            for batch in DataLoader(rows, batch_size=BATCH, collate_fn=collator):
                model(batch["pixel_values"])
        reference.append(time.perf_counter() - start)
    return [
        {
            "name": f"evaluation with 1,000 resamples of {len(rows):,} records, vs the bare forward passes",
            "ours": len(rows) / statistics.median(ours[1:]),
            "reference": len(rows) / statistics.median(reference[1:]),
            "ratio": statistics.median(theirs / own for own, theirs in zip(ours[1:], reference[1:], strict=True)),
            "required": REQUIRED,
            "unit": "records/s",
        }
    ]


if __name__ == "__main__":
    for row in run():
        print(row)
