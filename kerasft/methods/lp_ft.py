"""First the head alone, then everything."""

from kerasft import weights
from kerasft.checks import check, check_whole
from kerasft.errors import UserError
from kerasft.methods.base import Method, Stage


class LPFT(Method):
    """Trains the head on the frozen backbone, then all together.

    A new head's first gradients are noise, which spoils pretrained features; here the head is good before they may
    move. Best where the data to come differ from those of the training.

    Args:
        probe_epochs: int, 1 or more. Epochs of the first stage; the others are of the second.
        probe_learning_rate: float above 0. Peak of the first stage; the run's is of the second.

    Raises: UserError for arguments out of range, or if no epoch is left for the second stage.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, method="lp_ft")
    Source: Kumar et al. 2022, https://arxiv.org/abs/2202.10054.
    """

    def __init__(self, probe_epochs=1, probe_learning_rate=5e-3):
        check_whole("lp_ft", "probe_epochs", probe_epochs)
        check("lp_ft", "probe_learning_rate", probe_learning_rate, 0, low_is_allowed=False)
        self.probe_epochs = probe_epochs
        self.probe_learning_rate = probe_learning_rate

    def apply(self, model):
        weights.train_all(model)

    def stages(self, model, epochs):
        if epochs <= self.probe_epochs:
            raise UserError(f"lp_ft: epochs must be more than probe_epochs={self.probe_epochs}. Received: {epochs}")
        return [
            Stage("head", self.probe_epochs, self._train_head, self.probe_learning_rate),
            Stage("all", epochs - self.probe_epochs, self.apply),
        ]

    @staticmethod
    def _train_head(model):
        weights.train_only(model, [])
