"""Model soups: the mean of the weights of several fine-tunings of one backbone."""

from kerasft.averaging.result import Average
from kerasft.averaging.runs import Runs
from kerasft.errors import UserError


def uniform_soup(runs, directory, data, shifted=None, train=None):
    """Averages all runs and writes a run folder.

    Runs should differ in learning rate, seed, epochs or data, not in what they begin with: they must be of one task,
    list of labels, backbone and method. LoRA and IA3 are merged first, which makes the result a run of method `full`.

    Args:
        runs: sequence of paths of run folders, two or more.
        directory: path of the folder to write; nothing may be there.
        data: what runs and average are scored on, as for `fit`.
        shifted: the same, from another distribution, to see how robust each is; or None.
        train: the training data; needed only if the runs trained BatchNorm, whose statistics are estimated again.

    Returns: Result.
    Raises: UserError if the runs cannot be averaged, naming the run and what differs; or there is no validation data.
    Example: >>> uniform_soup(["runs/a", "runs/b"], "runs/soup", "validation.csv").rows[-1]
    Source: Wortsman et al. 2022, https://arxiv.org/abs/2203.05482, section 2.
    """
    average, scores = _begun(runs, directory, data, shifted, train)
    soup = _Soup()
    for run in scores:
        soup = soup.with_one(average.runs.values(run))
    return _saved(average, scores, list(scores), soup, "uniform soup")


def greedy_soup(runs, directory, data, shifted=None, train=None):
    """Averages those runs that make it better on validation data, and writes a run folder.

    From the best run downwards, each joins if the validation score does not get worse. So the result is no worse, on
    `data`, than the best run. As `data` choose among the runs, score the result on other data too.

    Arguments, Returns and Raises are those of `uniform_soup`.

    Source: Wortsman et al. 2022, https://arxiv.org/abs/2203.05482, recipe 1.
    """
    average, scores = _begun(runs, directory, data, shifted, train)
    order = sorted(scores, key=lambda run: average.worth(scores[run]), reverse=True)
    members, best = order[:1], average.worth(scores[order[0]])
    soup = _Soup().with_one(average.runs.values(order[0]))
    for run in order[1:]:
        candidate = soup.with_one(average.runs.values(run))
        average.put(candidate.values())
        worth = average.worth(average.scores())
        if worth >= best:
            soup, best, members = candidate, worth, [*members, run]
    return _saved(average, scores, members, soup, "greedy soup")


class _Soup:
    """Sums of weights, in float64: the mean of equal numbers is that number."""

    def __init__(self, sums=None, count=0):
        self.sums = sums or {}
        self.count = count

    def with_one(self, values):
        """Returns the soup with one run more."""
        sums = {path: value.astype("float64") + self.sums.get(path, 0.0) for path, value in values.items()}
        return _Soup(sums, self.count + 1)

    def values(self):
        """Returns the mean, `{path: array}`."""
        return {path: total / self.count for path, total in self.sums.items()}


def _begun(runs, directory, data, shifted, train):
    """Returns the `Average`, and the scores of each run by its folder."""
    if len(set(map(str, runs))) < len(runs) or len(runs) < 2:
        raise UserError(
            f"A soup is made of two or more different runs. Received: {', '.join(map(str, runs)) or 'none'}"
        )
    found = Runs(runs)
    average = Average(found, found.tuner(), directory, (data, shifted), train)
    scores = {}
    for run in average.runs.directories:
        average.put(average.runs.values(run), is_new=False)
        scores[run] = average.scores()
    return average, scores


def _saved(average, scores, members, soup, kind):
    average.put(soup.values(), is_new=len(members) > 1)
    rows = [_row(average, run, "yes" if run in members else "no", found) for run, found in scores.items()]
    rows.append(_row(average, kind, "", average.scores()))
    return average.save(f"{kind} of {', '.join(members)} ({len(members)} of {len(scores)} runs)", rows)


def _row(average, name, is_member, scores):
    return {"run": name, "averaged": is_member, **{f"{on} {average.metric}": found for on, found in scores.items()}}
