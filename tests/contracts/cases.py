"""A little data for each task, which a tiny model can learn."""

import numpy as np

WORDS = ("good", "bad")


class Case:
    """A task with data that a tiny model can learn.

    Args:
        backbones: names for `make_tiny`; the first that a method can change is taken.
        examples: data with targets. arguments: of the task, what it would learn from the data.
        needs_head: bool. Whether the head has weights, so that methods which train it alone have something to learn.
    """

    def __init__(self, backbones, examples, needs_head=True, **arguments):
        self.backbones, self.examples, self.needs_head, self.arguments = backbones, examples, needs_head, arguments


def _images():
    random = np.random.default_rng(0)
    return list(random.integers(0, 256, (16, 32, 32, 3), dtype="uint8")), ["good", "bad"] * 8


def _rows(make):
    return [make(word, number) for number in range(8) for word in WORDS]


TASKS = {
    "text_classification": Case(
        ["bert"], _rows(lambda w, n: {"text": f"{w} film {n}", "label": w}), labels=["good", "bad"]
    ),
    "image_classification": Case(["efficientnet", "vit"], _images(), labels=["good", "bad"]),
    "text_regression": Case(
        ["bert"], _rows(lambda w, n: {"text": f"{w} film {n}", "value": len(w) + n / 9}), mean=4.0, deviation=1.0
    ),
    "multi_task": Case(
        ["bert"],
        _rows(lambda w, n: {"text": f"{w} film {n}", "verdict": w, "length": len(w) + n / 9}),
        tasks={
            "verdict": {"name": "text_classification", "labels": ["good", "bad"]},
            "length": {"name": "text_regression", "mean": 4.0, "deviation": 1.0},
        },
    ),
    "token_classification": Case(
        ["bert"],
        _rows(lambda w, n: {"tokens": ["a", w, "film"], "tags": ["O", f"B-{w}", "O"]}),
        labels=["O", "B-bad", "B-good"],
    ),
    "question_answering": Case(
        ["bert"],
        _rows(lambda w, n: {"question": f"how {n} ?", "context": f"a {w} film", "answers": [{"text": w, "start": 2}]}),
        no_answer=False,
    ),
    "relation_classification": Case(
        ["bert"],
        _rows(
            lambda w, n: {
                "text": f"{w} film {n}",
                "subject": f"0:{len(w)}",
                "object": (len(w) + 1, len(w) + 5),
                "label": w,
            }
        ),
        labels=["good", "bad"],
        kinds=False,
    ),
    "masked_lm": Case(["bert"], _rows(lambda w, n: {"text": f"{w} film {n}"})),
    "zero_shot_classification": Case(
        ["bert"], _rows(lambda w, n: {"text": f"{w} film {n}", "label": w}), labels=["good", "bad"]
    ),
    "causal_lm": Case(
        ["gpt2"],
        _rows(lambda w, n: {"prompt": f"{w} film {n}", "completion": w}),
        needs_head=False,
        form="prompt",
        max_new_tokens=4,
    ),
    "seq2seq": Case(
        ["t5", "bart"], _rows(lambda w, n: {"text": f"{w} film {n}", "target": w}), needs_head=False, max_new_tokens=4
    ),
    "text_embedding": Case(
        ["bert"], _rows(lambda w, n: {"text": f"a {w} film {n}", "text_pair": f"so {w}"}), needs_head=False
    ),
}
