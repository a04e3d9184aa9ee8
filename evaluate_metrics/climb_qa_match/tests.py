"""Cases of the Space: inputs, and the values that must come back."""

_GRADES = ["No DR", "Mild DR", "Moderate DR", "Severe DR", "Proliferative DR"]
_FINDINGS = ["Edema", "Pneumonia", "Fracture", "None of the above"]

test_cases = [
    {
        "predictions": ["B", "There is no DR.", "no idea", "Mild DR or Moderate DR"],
        "references": [["Mild DR"], ["No DR"], ["No DR"], ["Mild DR"]],
        "choices": [_GRADES] * 4,
        "sources": ["aptos2019"] * 4,
        "result": {"climb_qa_match": 0.5, "n": 4},
    },
    {  # sets, whatever their order; none of them is an answer too
        "predictions": ["Pneumonia and edema", "None of the above", "edema"],
        "references": [["Edema", "Pneumonia"], [], ["Edema", "Fracture"]],
        "choices": [_FINDINGS] * 3,
        "sources": ["mine"] * 3,
        "result": {"climb_qa_match": 2 / 3, "n": 3},
    },
    {  # mean over two sources
        "predictions": ["A", "a"],
        "references": [["x y"], ["z w"]],
        "choices": [["x y", "z w"]] * 2,
        "sources": ["one", "two"],
        "result": {"climb_qa_match": 0.5, "n": 2},
    },
]
