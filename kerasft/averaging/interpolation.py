"""Between the pretrained backbone and the fine-tuned one."""

import numpy as np
from matplotlib.figure import Figure

from kerasft import deltas, weights
from kerasft.averaging.result import Average
from kerasft.averaging.runs import Runs
from kerasft.errors import UserError
from kerasft.evaluation import figures

ALPHAS = tuple(number / 10 for number in range(11))
PICTURE = "wise_ft.png"


def wise_ft(run, directory, data, shifted=None, train=None, alpha=None):  # noqa: PLR0913
    """Moves a run's backbone part of the way back to the pretrained one, and writes a run folder.

    What the backbone has unlearned in fine-tuning is often what other data need: between the two, the score on
    shifted data tends to be higher than at either end. The head is the run's own at each alpha: the paper's zero-shot
    head has no counterpart in a backbone that came without one.

    Args:
        run: path of a run folder.
        directory: path of the folder to write; nothing may be there. `wise_ft.png` in it shows the scores.
        data: what each alpha is scored on, and chosen by, as for `fit`.
        shifted: the same, from another distribution; or None.
        train: the training data; needed only if the run trained BatchNorm, whose statistics are estimated again.
        alpha: float from 0, the pretrained backbone, to 1, that of the run. None takes the best of eleven by the score
            on `data`, of equal ones the least.

    Returns: Result.
    Raises: UserError if alpha is out of range, the pretrained backbone cannot be had, or the run has nothing that
        the pretrained backbone has too.
    Example: >>> wise_ft("runs/a", "runs/robust", "validation.csv", shifted="other_shop.csv")
    Source: Wortsman et al. 2022, https://arxiv.org/abs/2109.01903, section 3.
    """
    if alpha is not None and not 0 <= alpha <= 1:
        raise UserError(f"alpha must be from 0 to 1. Received: alpha={alpha!r}")
    runs = Runs([run])
    average = Average(runs, runs.tuner(pretrained=True), directory, (data, shifted), train)
    between = _between(average)
    scores = {}
    for a in sorted({*ALPHAS, *([] if alpha is None else [float(alpha)])}):
        average.put(between(a), is_new=0 < a < 1)
        scores[a] = average.scores()
    chosen = max(scores, key=lambda a: average.worth(scores[a])) if alpha is None else float(alpha)
    average.put(between(chosen), is_new=0 < chosen < 1)
    average.scores()
    rows = [_row(average, a, a == chosen, found) for a, found in scores.items()]
    picture = figures.to_png(alpha_figure(scores, chosen, average.metric))
    return average.save(f"WiSE-FT of {run} with its base, alpha {chosen:g}", rows, {PICTURE: picture})


def alpha_figure(scores, chosen, metric):
    """Returns a plot of the scores against alpha, with their intervals.

    Args:
        scores: dict of alpha to `{name of the data: Estimate}`.
        chosen: float. The alpha to mark. metric: str.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    alphas = list(scores)
    for name in scores[alphas[0]]:
        values, low, high = np.array([scores[alpha][name] for alpha in alphas], float).T
        (line,) = axes.plot(alphas, values, marker="o", markersize=4, label=name)
        axes.fill_between(alphas, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.axvline(chosen, color="grey", linestyle=":", label=f"chosen: {chosen:g}")
    axes.set_xlabel("alpha: 0 pretrained backbone, 1 fine-tuned")
    axes.set_ylabel(f"{metric} (band: 95 % interval)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def _between(average):
    """Returns the function of alpha that gives the weights, `{path: array}`."""
    runs, model = average.runs, average.tuner.model
    learned, variables = runs.values(runs.directories[0]), weights.by_path(model)
    head = {id(variable) for variable in model.head.weights}
    own = {id(variable) for _, delta in deltas.of(model) for variable in delta.weights}
    moved = [path for path in learned if id(variables[path]) not in head]
    base = {path: variables[path].numpy().astype("float64") for path in moved}
    if not base or any(id(variables[path]) in own for path in moved):
        raise UserError(
            "There is nothing between this run and the pretrained backbone: it trained only its head, or weights of "
            f"its own beside the backbone's. Received: run={runs.directories[0]!r}"
        )

    def between(alpha):
        # In this order and in float64, so that both ends, and weights that did not move, are exact.
        return learned | {path: value + alpha * (learned[path] - value) for path, value in base.items()}

    return between


def _row(average, alpha, is_chosen, scores):
    found = {f"{name} {average.metric}": estimate for name, estimate in scores.items()}
    return {"alpha": alpha, "chosen": "yes" if is_chosen else "", **found}
