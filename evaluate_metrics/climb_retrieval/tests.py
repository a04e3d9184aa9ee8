"""Cases of the Space: inputs, and the values that must come back."""

test_cases = [
    {
        "predictions": [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
        "references": [[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]],
        "ks": [1, 2],
        "result": {"climb_retrieval": 1.0},
    },
    {  # a model that cannot tell items apart gets the chance level
        "predictions": [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]],
        "references": [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]],
        "ks": [1],
        "result": {"climb_retrieval": 0.25},
    },
    {  # copies of a caption match one another
        "predictions": [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]],
        "references": [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]],
        "ks": [1],
        "keys": ["a", "a", "b"],
        "result": {"climb_retrieval": 1.0},
    },
]
