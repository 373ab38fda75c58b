"""A label for an image."""

import os
from typing import ClassVar

import numpy as np
import pandas as pd
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.pipeline import clean, image
from kerasft.tasks._classification import Classification
from kerasft.tasks._head import PooledHead


class ImageClassification(Classification):
    """Classifies images, given as files, encoded bytes or arrays, resized and scaled as the backbone was trained.

    Args:
        labels: list of str or None. Names of the classes in order; learned from the training data if None.
        multi_label: bool. Any number of labels each image, given as a list or joined by `|`.
        image_size: int or None. Height and width in pixels; None is the size of the pretraining.
        dropout: float. Before the last layer.
        columns: dict. The data's names for `image` and `label`.

    Example: >>> kerasft.FineTuner(task="image_classification", backbone="starter:efficientnet_lite0_imagenet")
    """

    modality: ClassVar[str] = "image"
    inputs = ("image",)

    def __init__(self, labels=None, image_size=None, **kwargs):
        super().__init__(labels, **kwargs)
        if image_size is not None and (not isinstance(image_size, int) or image_size < 32):
            raise UserError(f"image_size must be a whole number, 32 or more. Received: image_size={image_size!r}")
        self.image_size = image_size

    def prepare(self, frame, with_targets=True, quarantine=None):
        column = self.columns.get("image", "image")
        if column in frame:
            frame = clean.resolve_paths(frame, column)
        return super().prepare(frame, with_targets, quarantine)

    def frame_of(self, inputs):
        is_one = isinstance(inputs, (str, bytes, os.PathLike)) or (isinstance(inputs, np.ndarray) and _is_image(inputs))
        inputs = [inputs] if is_one else list(inputs)
        inputs = [os.fspath(item) if isinstance(item, os.PathLike) else item for item in inputs]
        frame = pd.DataFrame({"image": pd.Series(inputs, dtype=object)})
        frame.index = range(1, len(frame) + 1)
        frame.attrs["origin"] = "inputs"
        return frame

    def preprocessor(self, pretrained):
        converter = pretrained.converter
        # float32 whatever the training precision is: pixels must not lose bits before the first layer.
        config = {**converter.get_config(), "dtype": "float32"}
        if self.image_size:
            fixed = pretrained.backbone.input_shape[1:3]
            if any(side not in (None, self.image_size) for side in fixed):
                raise UserError(
                    f"{pretrained.name} takes images of {fixed} only. Received: image_size={self.image_size}"
                )
            config["image_size"] = (self.image_size, self.image_size)
        return image.ImagePreprocessor(type(converter).from_config(config))

    def examples(self, frame, preprocessor, with_targets=True):
        return image.collect(preprocessor, frame["image"], self.targets(frame) if with_targets else None)

    def head(self, pretrained):
        return PooledHead(self.num_classes, ("image",), "mean", self.dropout)

    def serve(self, model, preprocessor, images):
        prepared = preprocessor(images)
        return self.decode(model(_not_empty(prepared), training=False)[: tf.shape(prepared)[0]])

    def signature(self):
        # TensorFlow Serving's REST interface reads base64 only for inputs whose name ends in `_bytes`.
        return {"image_bytes": tf.TensorSpec((None,), tf.string, name="image_bytes")}

    def request(self, frame):
        encoded = np.empty(len(frame), dtype=object)
        encoded[:] = [image.encode(value) for value in frame["image"]]
        return {"image_bytes": encoded}

    def edge_cases(self):
        random = np.random.default_rng(0)
        encoders = {tf.io.encode_jpeg: (1, 3), tf.io.encode_png: (1, 3, 4)}
        shapes = ((1, 1), (30, 300), (97, 65))
        return self.frame_of(
            [
                encode(random.integers(0, 256, (*shape, channels), "uint8")).numpy()
                for encode, allowed in encoders.items()
                for channels in allowed
                for shape in shapes
            ]
        )

    def get_config(self):
        return {**super().get_config(), "image_size": self.image_size}

    def _wanted(self, with_targets):
        return {"image": True, "label": True} if with_targets else {"image": True}

    def _problems(self, frame):
        return clean.image_problems(frame, "image")


def _not_empty(images):
    """Returns the images, or a black one if there are none.

    With oneDNN on AVX-512, TensorFlow's convolutions give no images the shape of their input and the next layer fails.
    """
    missing = tf.maximum(1 - tf.shape(images)[0], 0)
    return tf.concat([images, tf.zeros((missing, *images.shape[1:]), images.dtype)], axis=0)


def _is_image(array):
    """True for one image, `(height, width)` or `(height, width, channels)`; `(rows, height, width)` are grey images."""
    return array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (1, 3, 4))
