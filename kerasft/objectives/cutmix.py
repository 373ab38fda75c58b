"""A piece of one image in another."""

import contextlib
from typing import ClassVar

import tensorflow as tf

from kerasft.errors import UserError
from kerasft.objectives._mixing import Mixing


class Cutmix(Mixing):
    """Pastes a rectangle of one image onto another at the same place; each counts by its area.

    Args:
        alpha: float above 0. The share of the area is drawn from Beta(alpha, alpha); 1 draws all shares alike.

    Raises: UserError if it is not above 0, or for a task that reads no images.
    Example: >>> kerasft.FineTuner(task="image_classification", backbone=…, objectives=["cutmix"])
    Source: Yun et al. 2019, https://arxiv.org/abs/1905.04899, section 3.1.
    """

    name: ClassVar[str] = "cutmix"

    def __init__(self, alpha=1.0):
        super().__init__(alpha)

    def prepare(self, tuner, frame):
        if tuner.task.modality != "image":
            raise UserError(f"cutmix works with images only. Received: a task that reads {tuner.task.modality}")

    @contextlib.contextmanager
    def mix(self, model, x, share, partners):
        pasted = _rectangle(tf.shape(x)[1:3], share, model.step_seed("cutmix place"))
        outside = 1 - tf.reduce_mean(tf.cast(pasted, "float32"))
        yield tf.where(pasted[None, :, :, None], tf.gather(x, partners), x), outside


def _rectangle(size, share, seed):
    """Returns `(height, width)` bool: a rectangle of `1 - share` of the area around any point, cut at the border."""
    middle = tf.random.stateless_uniform((2,), seed) * tf.cast(size, "float32")
    half = tf.sqrt(1 - share) * tf.cast(size, "float32") / 2
    low, high = tf.cast(middle - half, "int32"), tf.cast(middle + half, "int32")
    rows, columns = tf.range(size[0]), tf.range(size[1])
    return ((rows >= low[0]) & (rows < high[0]))[:, None] & ((columns >= low[1]) & (columns < high[1]))[None]
