"""SQuAD files: questions on paragraphs, and where the answers are in them."""

import pandas as pd

from kerasft.data.base import as_examples, existing_file
from kerasft.errors import UserError
from kerasft.inspection import json_file

ENDINGS = (".json",)


def read(path):
    """Reads the questions of a JSON file in the format of SQuAD 1.1 or 2.0.

    Args:
        path: str or path.

    Returns: pandas.DataFrame of `question`, `context` and `answers`, a list of dicts of `text` and `start`, in
        characters, empty where there is no answer; and `id`.
    Raises: UserError if it is no such file.
    Source: Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250; 2018, https://arxiv.org/abs/1806.03822.
    """
    path = existing_file(path)
    found = json_file.read(str(path))
    try:
        rows = [
            _row(question, paragraph["context"])
            for article in found["data"]
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path.name} is no SQuAD file: it must hold data, paragraphs, context, qas, question and answers. Tables "
            f"as JSON are read from .jsonl files. Received: {error!r}"
        ) from error
    frame = pd.DataFrame(rows, columns=["question", "context", "answers", "id"], dtype=object)
    return as_examples(frame, path.name, path)


def _row(question, context):
    none = question.get("is_impossible", False)
    answers = [] if none else [{"text": a["text"], "start": a["answer_start"]} for a in question["answers"]]
    return question["question"], context, answers, question.get("id")
