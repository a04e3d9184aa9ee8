"""Retrieval of 13,559 x 13,559 pairs at width 512, both directions, against top-k of the full score matrix.

The reference is what evaluation code usually does: normalise, one matrix product, `torch.topk` of its rows and of its
columns, and a look whether the own index is among the best k. It knows nothing of ties, has no median rank, and holds
the whole matrix (735 MB). Both sides must agree on these embeddings, which have no ties. Embeddings are synthetic.
"""

import statistics
import time

import numpy as np
import torch

from climb_hf.metrics import retrieval_metrics

ROWS, WIDTH, REPEATS = 13_559, 512, 3
DEPTHS = (10, 50, 200)
LIMIT_SECONDS = 5.0


def synthetic(rows=ROWS, width=WIDTH, seed=0):
    """Synthetic embeddings of pairs that are related, but not closely: float32, (rows, width) each."""
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(rows, width)).astype(np.float32)
    return images, images + 6 * generator.normal(size=(rows, width)).astype(np.float32)


def plain(images, texts):
    """Recall at every depth in both directions, by top-k of the whole matrix."""
    a, b = (torch.nn.functional.normalize(torch.from_numpy(rows), dim=1) for rows in (images, texts))
    scores = a @ b.T
    own = torch.arange(len(scores))[:, None]
    recalls = []
    for table in (scores, scores.T):
        hits = table.topk(max(DEPTHS), dim=1).indices == own
        recalls += [float(hits[:, :k].any(dim=1).float().mean()) for k in DEPTHS]
    return recalls


def ours(images, texts):
    """The same numbers by `retrieval_metrics`."""
    result = retrieval_metrics(images, texts, ks=DEPTHS)
    return [result[way][f"recall@{k}"] for way in ("image_to_text", "text_to_image") for k in DEPTHS]


def run():
    """Measure; rows of name, ours, reference, ratio, required ratio (or `None`), unit."""
    images, texts = synthetic()
    times = {ours: [], plain: []}
    for _ in range(REPEATS):
        found = {}
        for side in times:
            start = time.perf_counter()
            found[side] = side(images, texts)
            times[side].append(time.perf_counter() - start)
        worst = max(abs(left - right) for left, right in zip(found[ours], found[plain], strict=True))
        if not worst <= 2 / ROWS:  # a near tie that float32 decides the other way
            raise RuntimeError(f"the two sides differ by {worst}")
    seconds, reference = (statistics.median(times[side]) for side in (ours, plain))
    name = f"retrieval: {ROWS:,} x {ROWS:,}, width {WIDTH}, both ways"
    return [
        {
            "name": f"{name}, {torch.get_num_threads()} thread(s)",
            "ours": seconds,
            "reference": reference,
            "ratio": reference / seconds,
            "required": None,
            "unit": "s",
        },
        {
            "name": f"{name} (limit {LIMIT_SECONDS:g} s on 2 cores)",
            "ours": seconds,
            "reference": LIMIT_SECONDS,
            "ratio": LIMIT_SECONDS / seconds,
            "required": 1.0,
            "unit": "s",
        },
    ]


if __name__ == "__main__":
    for row in run():
        print("{name:80s} {ours:8.3f} {unit} {reference:9.3f} {unit}  ratio {ratio:7.1f}".format(**row))
