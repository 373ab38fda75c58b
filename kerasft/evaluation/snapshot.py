"""What TensorBoard shows of a model's predictions while it learns."""

import io
import re
import textwrap

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import confusion_matrix

from kerasft.evaluation import figures
from kerasft.pipeline import batching

EXAMPLES, SHOWN = 500, 8  # that are predicted after each epoch, and of those in the table
LINE, LINES = 60, 3  # characters of a line and lines of a cell

_MARKDOWN = re.compile(r"[!-/:-@\[-`{-~]")


def take(task, model, preprocessor, frame):
    """Predicts some examples, always the same, and returns pictures and text of how it goes.

    Args:
        task: Task. model: FineTunedModel. preprocessor: the task's layer.
        frame: pandas.DataFrame of prepared validation examples; at most 500 of them are used, drawn at random.

    Returns: dict of tag to PNG bytes or Markdown: `validation/predictions`; for images `validation/images`; where each
        example has one label `validation/confusion`.
    """
    frame = frame.sample(min(len(frame), EXAMPLES), random_state=0)
    made = _outputs(model, task.examples(frame, preprocessor, with_targets=False))
    decoded = {name: values.numpy() for name, values in task.decode(tf.constant(made)).items()}
    decoded = {name: values for name, values in decoded.items() if values.ndim == 1}
    head = frame.head(SHOWN)
    shown = {"validation/predictions": table(task.inputs, head, decoded)}
    if task.modality == "image":
        shown["validation/images"] = figures.to_png(_pictures(task, head, decoded))
    if task.evaluation == "classification" and not task.multi_label:
        classes = range(len(task.labels))
        confusion = confusion_matrix(task.targets(frame), made.argmax(-1), labels=classes)
        shown["validation/confusion"] = figures.to_png(figures.confusion_figure(confusion, task.labels))
    return shown


def table(inputs, frame, decoded):
    """Returns a Markdown table with a row for each example; nothing in an example is taken for Markdown or HTML.

    Args:
        inputs: names of the frame's columns that the model reads; the others are the truth.
        frame: pandas.DataFrame.
        decoded: dict of arrays with one prediction or score a row; those named as a column of the truth are compared.
    """
    truth = [name for name in frame if name not in inputs]
    header = ["", *inputs, *(f"true {name}" for name in truth)]
    header += [f"predicted {name}" if name in truth else name for name in decoded]
    rows = [header, ["---"] * len(header)]
    for position, (number, example) in enumerate(frame.iterrows()):
        found = {name: values[position] for name, values in decoded.items()}
        mark = "✓" if all(_same(example[name], found[name]) for name in truth if name in found) else "✗"
        cells = [_preview(example[name], number) for name in inputs]
        rows.append([mark, *cells, *(_word(example[name]) for name in truth), *map(_word, found.values())])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _outputs(model, examples):
    """Returns the model's outputs row by row, without `predict`, which would trace a graph for each width."""
    batches = batching.ordered_batches(examples, 32)
    made = [model(inputs, training=False).numpy() for (inputs,) in batching.dataset(examples, lambda: batches)]
    return np.concatenate(made)[np.argsort(np.concatenate(batches))]


def _pictures(task, frame, decoded):
    """Returns the images, the model's view of each below it."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    for position, encoded in enumerate(next(iter(task.request(frame).values()))):
        axes = figure.add_subplot(2, SHOWN // 2, position + 1)
        axes.imshow(np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")))
        axes.set_axis_off()
        label, score = (_plain(decoded[name][position]) for name in ("label", "score"))
        is_right = _same(frame["label"].iloc[position], label)
        mistake = "" if is_right else f"\ntruth: {_plain(frame['label'].iloc[position])}"
        text = f"{label} {score}{mistake}".replace("$", r"\$")
        axes.set_title(text, fontsize=10, color="black" if is_right else "firebrick")
    return figure


def _same(truth, predicted):
    return set(_plain(truth).split("|")) == set(_plain(predicted).split("|"))


def _preview(value, number):
    return _word(value) if isinstance(value, str) else f"row {number}"


def _word(value):
    """Returns a value as the text of a cell: short, its punctuation as HTML entities.

    Lines are broken here, since TensorBoard would rather break the words of all narrow columns.
    """
    text = "".join(letter if letter.isprintable() else " " for letter in _plain(value))
    lines = textwrap.wrap(text, LINE, max_lines=LINES, placeholder=" …")
    return "<br>".join(_MARKDOWN.sub(lambda match: f"&#{ord(match.group())};", line) for line in lines)


def _plain(value):
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return "|".join(map(str, value))
    return f"{value:.3f}" if isinstance(value, (float, np.floating)) else str(value)
