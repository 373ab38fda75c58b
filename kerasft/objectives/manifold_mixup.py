"""Straight lines between what two examples become within the backbone."""

import contextlib
from typing import ClassVar

import tensorflow as tf

from kerasft import weights
from kerasft.errors import UserError
from kerasft.objectives._mixing import Mixing, blended
from kerasft.surgery import bottlenecks
from kerasft.taps import tap


class ManifoldMixup(Mixing):
    """Mixes two examples at a place drawn anew for each batch: the pixels of images, or the output of a block.

    Smoother boundaries than `mixup`'s, also within the network. Texts of like length share a batch, so little of what
    is mixed is padding; a row attends to as many places as its own text has.

    Args:
        alpha: float above 0. The share is drawn from Beta(alpha, alpha); 2 is the paper's.

    Raises: UserError if it is not above 0, or for a backbone without a block whose output all goes through.
    Example: >>> kerasft.FineTuner(task=…, backbone=…, objectives=["manifold_mixup"])
    Source: Verma et al. 2019, https://arxiv.org/abs/1806.05236, section 2; texts: Chen, Yang & Yang 2020 ("TMix"),
        https://arxiv.org/abs/2004.12239, section 3.
    """

    name: ClassVar[str] = "manifold_mixup"

    def __init__(self, alpha=2.0):
        super().__init__(alpha)

    def attach(self, model):
        _, blocks = weights.blocks(bottlenecks(model))
        if not blocks:
            raise UserError("manifold_mixup finds no block that all goes through. Received: a backbone without")
        self.taps = [tap(layers[-1]) for layers in blocks.values()]

    @contextlib.contextmanager
    def mix(self, model, x, share, partners):
        first = int(not isinstance(x, dict))  # Pixels can be mixed, token numbers cannot.
        seed = model.step_seed("manifold_mixup place")
        place = tf.random.stateless_uniform((), seed, 0, first + len(self.taps), tf.int32)

        def at(number):
            return lambda values: tf.cond(place == number, lambda: blended(values, share, partners), lambda: values)

        with contextlib.ExitStack() as stack:
            for number, one in enumerate(self.taps, start=first):
                stack.enter_context(one.through(at(number)))
            yield at(0)(x) if first else x, share
