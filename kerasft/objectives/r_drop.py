"""Two passes with different dropout shall agree."""

from typing import ClassVar

from kerasft.checks import check
from kerasft.objectives._distributions import divergence, is_multi_label
from kerasft.objectives.base import Objective


class RDrop(Objective):
    """Runs each batch twice, with other units dropped, and pulls both outputs together.

    The loss is the mean of both passes' plus `alpha` times the mean of both directions' Kullback-Leibler divergence, as
    in the authors' code; the paper sums both passes' losses, so the divergence weighs half as much there. A step takes
    nearly twice as long.

    Args:
        alpha: float, 0 or more. 0.1 to 5; more for small data.

    Raises: UserError if it is below 0.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, objectives=[{"name": "r_drop", "alpha": 1.0}])
    Source: Liang et al. 2021, https://arxiv.org/abs/2106.14448, section 2, equations 1 to 4.
    """

    name: ClassVar[str] = "r_drop"
    needs_classes = True
    takes_features = True

    def __init__(self, alpha=1.0):
        check("r_drop", "alpha", alpha, 0)
        self.alpha = alpha

    def __call__(self, model, x, y, y_pred, extra=None):
        again, multi = model(x, training=True), is_multi_label(y, y_pred)
        apart = divergence(y_pred, again, multi) + divergence(again, y_pred, multi)
        more = model.row_losses(y, again) - model.row_losses(y, y_pred)
        return more / 2 + self.alpha * apart / 2
