"""How well a model of language knows what comes next, with intervals."""

import dataclasses

import numpy as np

from kerasft.errors import UserError
from kerasft.evaluation import _details, _mistakes, bootstrap

LISTED = "The rows whose right tokens the model expects least: often odd ones, or what it has not learned yet."


@dataclasses.dataclass
class Evaluation:
    """What was measured on one set of rows.

    Attributes:
        examples: int. Number of rows. tokens: int. Those that count.
        metrics: dict of name to `Estimate`: `perplexity`; `cross_entropy`, its logarithm, in nats a token;
            `token_accuracy`, the share of tokens that are the likeliest after all right ones before them; `exact`, the
            share of rows of which all tokens are, so that greedy generation gives what is right, to the letter.
        mistakes: list of up to 20 dicts, the rows of the highest cross-entropy first: `row`, `origin`, `prompt`,
            `completion`, `cross_entropy`.
    """

    examples: int
    tokens: int
    metrics: dict
    mistakes: list

    def counted(self):
        """Returns what `metrics.json` has beside the metrics, by name."""
        return {"examples": self.examples, "tokens": self.tokens}

    def headline(self):
        """Returns the result that counts as a `Headline` for a report."""
        result = self.metrics["perplexity"]
        words = f"perplexity of {self.tokens:,} tokens in {self.examples:,} rows; 1 would be perfect"
        span = f"95\N{NO-BREAK SPACE}% interval {result.low:.3f} to {result.high:.3f}"
        return _mistakes.Headline(f"{result.value:.3f}", "", words, span, "")

    def sections(self):
        """Returns the sections of a report that are of this kind of task, as HTML."""
        heads = {"prompt": "Prompt", "completion": "Right completion", "cross_entropy": "Cross-entropy"}
        return [_details.texts(self.mistakes, "Hardest rows", LISTED, heads, digits=3)]


def evaluate(targets, outputs, shown=None, frame=None, **resampling):
    """Measures the scores of right tokens.

    Args:
        targets: not read.
        outputs: `(rows, 3)` float: of each row the sum of its tokens' cross-entropies, how many of them were the
            likeliest, and how many there are.
        shown: function from a table to one with `prompt` and `completion`, or None.
        frame: pandas.DataFrame of the examples in the same order, for the hardest rows, or None.
        **resampling: `resamples=1000` and `seed=0` of the intervals, see `bootstrap.intervals`; rows are drawn.

    Returns: `Evaluation`.
    Raises: UserError if a number is not finite, or no token counts.
    """
    outputs = checked(outputs, frame)
    return Evaluation(
        examples=len(outputs),
        tokens=int(outputs[:, 2].sum()),
        metrics=bootstrap.intervals(MEASURES, outputs[:, 2], outputs, **resampling),
        mistakes=_hardest(outputs, shown, frame),
    )


def picture(targets, outputs, shown=None):
    """Returns None: there is nothing to draw."""


def example_scores(targets, outputs, shown=None):
    """Returns the name of the metric by which runs are compared, and `(rows,)` scores of which it is the mean."""
    outputs = checked(outputs, None)
    return "negative_cross_entropy_by_row", -outputs[:, 0] / np.maximum(outputs[:, 2], 1)


def perplexity(tokens, outputs, weights):
    """The exponential of the cross-entropy: between so many equal tokens the model would be as unsure."""
    return np.exp(cross_entropy(tokens, outputs, weights))


def cross_entropy(tokens, outputs, weights):
    """The mean over the tokens, in nats."""
    return weights @ outputs[:, 0] / (weights @ tokens)


def token_accuracy(tokens, outputs, weights):
    """The share of tokens that are the likeliest."""
    return weights @ outputs[:, 1] / (weights @ tokens)


def exact(tokens, outputs, weights):
    """The share of rows of which all tokens are the likeliest."""
    return weights @ (outputs[:, 1] == tokens) / weights.sum()


MEASURES = {function.__name__: function for function in (perplexity, cross_entropy, token_accuracy, exact)}


def checked(outputs, frame):
    outputs = np.asarray(outputs, "float64")
    if outputs.ndim != 2 or outputs.shape[1] != 3 or not outputs[:, 2].sum():
        raise UserError(f"outputs must be (rows, 3), with a token at least. Received: {outputs.shape}")
    _mistakes.check_finite(outputs, np.arange(len(outputs) + 1), frame)
    return outputs


def _hardest(outputs, shown, frame):
    if frame is None or shown is None:
        return []
    means = outputs[:, 0] / np.maximum(outputs[:, 2], 1)
    rows = np.argsort(-means, kind="stable")[: _mistakes.SHOWN]
    texts = shown(frame.iloc[rows])
    return _mistakes.listed(
        frame, rows, prompt=texts["prompt"], completion=texts["completion"], cross_entropy=means[rows].tolist()
    )
