"""Averages of the weights of finished runs."""

from kerasft.averaging.interpolation import wise_ft
from kerasft.averaging.soups import greedy_soup, uniform_soup
from kerasft.errors import UserError, nearest

__all__ = ["average", "greedy_soup", "uniform_soup", "wise_ft"]

SOUPS = {"greedy": greedy_soup, "uniform": uniform_soup}


def average(how, runs, directory, alpha=None, **data):
    """Averages the weights of finished runs in the way of this name, and writes a run folder.

    Args:
        how: str. `"greedy"`, `"uniform"` or `"wise_ft"`.
        runs: sequence of paths of run folders; one for `"wise_ft"`.
        directory: path of the folder to write; nothing may be there.
        alpha: float or None. As of `wise_ft`, and of it alone.
        **data: `data`, `shifted` and `train`, as of `uniform_soup`.

    Returns: Result.
    Raises: UserError for another name, for arguments that do not go with it, or as the function of this name.
    """
    if how in SOUPS:
        if alpha is not None:
            raise UserError(f"alpha is of wise_ft alone. Received: alpha={alpha}, how={how!r}")
        return SOUPS[how](runs, directory, **data)
    if how != "wise_ft":
        names = (*SOUPS, "wise_ft")
        raise UserError(f"how must be one of {', '.join(names)}.{nearest(how, names)} Received: how={how!r}")
    if len(runs) != 1:
        given = ", ".join(map(str, runs))
        raise UserError(f"wise_ft takes one run, between which and its base it goes. Received: {given}")
    return wise_ft(runs[0], directory, alpha=alpha, **data)
