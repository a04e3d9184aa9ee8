"""What the tests of single sources share: rows by id, and what a build counted as left out."""

import json


def by_id(dataset):
    return {row["id"]: (split, row) for split, part in dataset.items() for row in part}


def left_out(cache):
    (file,) = cache.rglob("left_out.json")
    return json.loads(file.read_text())
