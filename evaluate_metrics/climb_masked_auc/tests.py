"""Cases of the Space: inputs, and the values that must come back."""

_OPTIONS = {"source_classes": {"a": [0, 1], "b": [2]}, "multi_label": {"a": False, "b": True}}

test_cases = [
    {
        "references": [[1, 0, 0], [0, 1, 0], [1, 0, 0]],
        "predictions": [[2.0, 1.0, 0.0], [0.0, 3.0, 0.0], [0.5, 1.0, 0.0]],
        "sources": ["a", "a", "a"],
        **_OPTIONS,
        "result": {"climb_masked_auc": 1.0},
    },
    {  # a tie counts one half
        "references": [[0, 0, 1], [0, 0, 0], [0, 0, 0]],
        "predictions": [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]],
        "sources": ["b", "b", "b"],
        **_OPTIONS,
        "result": {"climb_masked_auc": 0.75},
    },
    {  # mean over two sources
        "references": [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]],
        "predictions": [[2.0, 1.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, -1.0], [0.0, 0.0, 1.0]],
        "sources": ["a", "a", "b", "b"],
        **_OPTIONS,
        "result": {"climb_masked_auc": 0.5},
    },
]
