"""Several answers for a text from one model: labels and numbers, each learned from a column of its own."""

import itertools
import numbers
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from kerasft import checks, registry
from kerasft.errors import UserError
from kerasft.pipeline import clean
from kerasft.tasks._text import TextTask
from kerasft.tasks.text_classification import TextClassification
from kerasft.tasks.text_regression import TextRegression

KINDS = ("text_classification", "text_regression")
SHARED = ("pair", "pooling", "sequence_length", "dropout", "columns")  # Arguments that are the same for all.


class MultiTask(TextTask):
    """Answers several questions about one text (`text`) or two (`text`, `text_pair`) at once.

    Each task has a column of its own, of which it has the name: a label or a number. A row needs an answer for one of
    them at least; where it has none, that task learns nothing from it. Tables of different tasks are put one below
    the other. The loss of a row is the sum of its tasks' losses times their weights, so a task counts by how many
    answers there are for it, unless `temperature` has rows of rare tasks met more often than others.

    Args:
        tasks: dict. By name `"text_classification"` or `"text_regression"`, or a dict of that `name` and the
            arguments of its own: `labels`, `multi_label`, `mean`, `deviation`.
        weights: dict of name to float, 0 or more, or None. Of the tasks' losses; 1 for those that are not named.
        temperature: float, 1 or more. Answers of a task that has `n` are met in proportion to `n ** (1 / temperature)`:
            1 is once an epoch each, `.inf` as many of every task. An epoch stays as long as it is.
        pair, pooling, sequence_length, dropout: as of `text_classification`, for all tasks.
        columns: dict. The data's names for ours, such as `{"text": "review", "stars": "rating"}`.

    Example:
        >>> tasks = {"sentiment": "text_classification", "stars": "text_regression"}
        >>> kerasft.FineTuner(task="multi_task", backbone="bert_base_en_uncased", tasks=tasks)
    Source: Caruana 1997, https://doi.org/10.1023/A:1007379606734; temperature: Raffel et al. 2020,
        https://arxiv.org/abs/1910.10683, section 3.5.2.
    """

    evaluation: ClassVar[str] = "multi_task"
    monitor: ClassVar[tuple[str, str]] = ("val_loss", "min")

    def __init__(self, tasks, weights=None, temperature=1.0, **kwargs):
        super().__init__(**kwargs)
        if not (isinstance(tasks, dict) and tasks):
            raise UserError(f"tasks must be a dict such as {{'stars': 'text_regression'}}. Received: tasks={tasks!r}")
        self.tasks = {name: self._made(name, given) for name, given in tasks.items()}
        for name, other in itertools.permutations(tasks, 2):
            if other.startswith(f"{name}_"):  # Answers are told apart by these.
                raise UserError(f"The name of a task may not begin with another's and '_'. Received: {name}, {other}")
        self.weights = _checked(weights, self.tasks)
        checks.check("multi_task", "temperature", temperature, 1)
        self.temperature = float(temperature)

    def _made(self, name, given):
        if not isinstance(name, str) or not name.isidentifier() or name in ("text", "text_pair", "serving_default"):
            raise UserError(
                "A task needs a name of its own, of letters, digits and _; a column of another name is given by "
                f"columns={{name: column}}. Received: tasks has {name!r}"
            )
        arguments = dict(given) if isinstance(given, dict) else {"name": given}
        shared = [key for key in SHARED if key in arguments]
        if arguments.get("name") not in KINDS or shared:
            raise UserError(
                f"tasks: {name!r} must be one of {', '.join(KINDS)}, or a dict of that name and what is its own; "
                f"{', '.join(SHARED)} are given once for all. Received: {given!r}"
            )
        return registry.get("tasks", {**arguments, "pair": self.pair})

    # === Data ===

    def prepare(self, frame, with_targets=True, quarantine=None):
        frame, quarantine = self._chosen(frame, with_targets), quarantine or clean.Quarantine()
        problems = self._problems(frame)
        if not with_targets:
            return quarantine.admit(frame, problems)
        frame = frame.assign(**{name: None for name in self.tasks if name not in frame})
        known = np.any([self._known(frame, name) for name in self.tasks], axis=0)
        reasons = (None if is_known else "has no answer, nor has any other task" for is_known in known)
        frame = quarantine.admit(frame, problems + clean.row_problems(frame, next(iter(self.tasks)), reasons))
        for name, task in self.tasks.items():
            part = self._part(frame, name)
            if not len(part):
                task.check_learned()
                continue
            good = task.prepare(part, quarantine=quarantine)
            frame = frame[frame.index.isin(good.index) | ~frame.index.isin(part.index)]
            values = frame[name].astype(object)
            values[good.index] = good[task.target].to_numpy(object)
            frame = frame.assign(**{name: values})
        return frame

    def oddities(self, frame):
        silent = [name for name in self.tasks if not self._known(frame, name).any()]
        found = [(silent, f"{clean.origin(frame)} has no answer for these tasks, which learn nothing")]
        for name in self.tasks.keys() - silent:
            found += self.tasks[name].oddities(self._part(frame, name))
        return found

    def targets(self, frame):
        """Returns `(rows, targets of all tasks)` float32: numbers of labels, 0 and 1, or numbers; NaN for no answer."""
        made = []
        for name, task in self.tasks.items():
            known = self._known(frame, name)
            column = np.full((len(frame), _width(task)), np.nan, "float32")
            if known.any():
                column[known] = task.targets(self._part(frame, name)).reshape(known.sum(), -1)
            made.append(column)
        return np.concatenate(made, axis=1)

    def examples(self, frame, preprocessor, with_targets=True):
        made = super().examples(frame, preprocessor, with_targets)
        if with_targets and self.temperature > 1:
            known = np.stack([self._known(frame, name) for name in self.tasks], axis=1)
            made.draws = known @ np.maximum(known.sum(axis=0), 1.0) ** (1 / self.temperature - 1)
        return made

    def shown(self, frame):
        named = {name: f"{name}_{task.target}" for name, task in self.tasks.items() if name in frame}
        return frame[[*self.inputs, *named]].rename(columns=named)

    def _wanted(self, with_targets):
        wanted = dict.fromkeys(self.inputs, True)
        return (
            {**wanted, **{name: not _is_known(task) for name, task in self.tasks.items()}} if with_targets else wanted
        )

    @staticmethod
    def _known(frame, name):
        """Returns whether each row has an answer, `(rows,)` bool."""
        empty = (clean.is_missing(value) or (isinstance(value, str) and value == "") for value in frame[name])
        return ~np.fromiter(empty, bool, len(frame))

    def _part(self, frame, name):
        """Returns the rows that have an answer for a task, as its own table."""
        part = frame[self._known(frame, name)][[*self.inputs, name]].rename(columns={name: self.tasks[name].target})
        part.attrs = {**frame.attrs, "origin": f"{clean.origin(frame)}, {name}"}
        return part

    # === What is learned ===

    @property
    def learned(self):
        return {"tasks": {name: _config(task) for name, task in self.tasks.items()}}

    def check_learned(self):
        for task in self.tasks.values():
            task.check_learned()

    @property
    def units(self):
        """Width of the output: those of all tasks side by side."""
        return sum(task.units for task in self.tasks.values())

    def loss(self):
        return MultiTaskLoss([(task.loss(), self.weights[name]) for name, task in self.tasks.items()], self.places)

    def metrics(self):
        return [
            OfTask(metric, columns, units, name=f"{name}_{metric.name}")
            for (name, task), (columns, units) in zip(self.tasks.items(), self.places, strict=True)
            for metric in task.metrics()
        ]

    @property
    def places(self):
        """A pair of slices for each task: its columns of targets, and of outputs."""
        widths = [(_width(task), task.units) for task in self.tasks.values()]
        ends = np.cumsum([(0, 0), *widths], axis=0).tolist()
        return [
            (slice(first, last), slice(begin, end)) for (first, begin), (last, end) in zip(ends, ends[1:], strict=False)
        ]

    # === Answers ===

    def decode(self, outputs):
        """Returns what each task does, as `<task>_<name>`: `sentiment_label`, `sentiment_scores`, `stars_value`."""
        found: dict[str, Any] = {}
        for (name, task), (_, units) in zip(self.tasks.items(), self.places, strict=True):
            found |= {f"{name}_{key}": value for key, value in task.decode(outputs[:, units]).items()}
        return found

    @property
    def parts(self):
        """The beginning of the names of each task's answers, by task."""
        return {name: f"{name}_" for name in self.tasks}

    def evaluation_arguments(self):
        return {
            "parts": [
                {"name": name, "target": task.target, "columns": columns, "units": units}
                | {"evaluation": task.evaluation, "is_number": _is_one_label(task)}
                | {"arguments": task.evaluation_arguments()}
                for (name, task), (columns, units) in zip(self.tasks.items(), self.places, strict=True)
            ]
        }

    def get_config(self):
        return {**super().get_config(), **self.learned, "weights": self.weights, "temperature": self.temperature}


class MultiTaskLoss(keras.losses.Loss):
    """The sum of losses, each of some columns of targets and outputs; rows without a target have none.

    Args:
        losses: list of pairs of a `keras.losses.Loss` and its weight.
        places: list of pairs of slices, of the columns of targets and of outputs.

    Input shape: targets `(batch, columns)` float, NaN where there is none; outputs `(batch, units)`.
    """

    def __init__(self, losses, places, name="multi_task", **kwargs):
        super().__init__(name=name, **kwargs)
        self.losses = losses
        self.places = places

    def call(self, y_true, y_pred):
        total = 0.0
        for (loss, weight), (columns, units) in zip(self.losses, self.places, strict=True):
            targets, known = _filled(y_true[:, columns])
            total += weight * tf.cast(known, y_pred.dtype) * loss.call(targets, y_pred[:, units])
        return total


class OfTask(keras.metrics.Metric):
    """A metric of some columns of targets and outputs, over the rows that have these targets.

    Args:
        metric: keras.metrics.Metric. columns, units: slices.
    """

    def __init__(self, metric, columns, units, name):
        super().__init__(name=name)
        self.metric, self.columns, self.units = metric, columns, units

    def update_state(self, y_true, y_pred, sample_weight=None):
        targets, known = _filled(tf.convert_to_tensor(y_true)[:, self.columns])
        weights = tf.cast(known, "float32")
        if sample_weight is not None:
            weights *= tf.reshape(tf.cast(sample_weight, "float32"), [-1])
        self.metric.update_state(targets, y_pred[:, self.units], weights)

    def result(self):
        return self.metric.result()

    def reset_state(self):
        self.metric.reset_state()


def _filled(targets):
    """Returns targets with 0 for those that are missing, and which rows have them, `(batch,)` bool."""
    missing = tf.math.is_nan(targets)
    return tf.where(missing, tf.zeros_like(targets), targets), ~tf.reduce_any(missing, axis=-1)


def _checked(weights, tasks):
    """Returns the weights of all tasks. Raises UserError for one that is none, or of none of the tasks."""
    given = weights or {}
    is_dict = isinstance(given, dict) and all(n in tasks and _is_weight(weight) for n, weight in given.items())
    if not is_dict or not any({**dict.fromkeys(tasks, 1), **given}.values()):
        raise UserError(f"weights must be a dict of numbers, 0 or more, of {', '.join(tasks)}. Received: {weights!r}")
    return {name: float(given.get(name, 1)) for name in tasks}


def _is_weight(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and 0 <= value < np.inf


def _is_known(task):
    """Returns whether a task knows its labels, or mean and deviation; until then it must learn them."""
    return bool(task.learned)


def _is_one_label(task):
    return isinstance(task, TextClassification) and not task.multi_label


def _width(task):
    """Returns how many columns of targets a task has."""
    return 1 if isinstance(task, TextRegression) or _is_one_label(task) else task.units


def _config(task):
    own = {key: value for key, value in task.get_config().items() if key not in SHARED and value is not None}
    return {"name": KINDS[isinstance(task, TextRegression)], **own}
