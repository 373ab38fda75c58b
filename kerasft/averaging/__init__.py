"""Averages of the weights of finished runs."""

from kerasft.averaging.interpolation import wise_ft
from kerasft.averaging.soups import greedy_soup, uniform_soup
from kerasft.errors import UserError, nearest

__all__ = ["average", "greedy_soup", "uniform_soup", "wise_ft"]

SOUPS = {"greedy": greedy_soup, "uniform": uniform_soup}


def average(how, runs, directory, alpha=None, **data):
    """Averages by a name: `"greedy"`, `"uniform"` or `"wise_ft"`, the last of which takes one run and an alpha."""
    if how in SOUPS:
        if alpha is not None:
            raise UserError(f"alpha is of wise_ft alone. Received: alpha={alpha}, how={how!r}")
        return SOUPS[how](runs, directory, **data)
    if how != "wise_ft":
        names = (*SOUPS, "wise_ft")
        raise UserError(f"how must be one of {', '.join(names)}.{nearest(how, names)} Received: how={how!r}")
    if len(runs) != 1:
        raise UserError(f"wise_ft takes one run, between which and its base it goes. Received: {', '.join(runs)}")
    return wise_ft(runs[0], directory, alpha=alpha, **data)
