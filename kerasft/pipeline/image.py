"""Image files, encoded bytes or arrays to what a backbone was trained on."""

import dataclasses
import hashlib
import json
import os

import keras
import numpy as np
import tensorflow as tf

from kerasft.pipeline.examples import Examples


@keras.saving.register_keras_serializable("kerasft")
class ImagePreprocessor(keras.layers.Layer):
    """Decodes, resizes and scales images as the backbone's pretraining did.

    The same object makes the training batches and the first ops of the exported graph.

    Args:
        converter: keras.layers.Layer. Pixels 0 to 255 to the backbone's input; its config holds `image_size`.

    Input shape: `(batch,)` strings, each an encoded JPEG, PNG, GIF, BMP or WebP; or `(batch, height, width, channels)`
        uint8 pixels with 1, 3 or 4 channels.
    Output shape: `(batch, *image_size, 3)` float32.
    """

    def __init__(self, converter, **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.converter = converter
        self.image_size = tuple(converter.image_size)
        self.built = True

    def call(self, images):
        if images.dtype != tf.string:
            return self.convert(images)
        spec = tf.TensorSpec((*self.image_size, 3), tf.float32)
        return tf.map_fn(lambda image: self.convert(decode(image)[None])[0], images, fn_output_signature=spec)

    def convert(self, pixels):
        """Returns `(batch, *image_size, 3)` float32 for `(batch, height, width, channels)` pixels."""
        if pixels.shape[-1] == 1:
            pixels = tf.image.grayscale_to_rgb(pixels)
        converted = self.converter(tf.cast(pixels[..., :3], tf.float32))
        return tf.ensure_shape(converted, (None, *self.image_size, 3))

    def compute_output_spec(self, images):
        return keras.KerasTensor((None, *self.image_size, 3), dtype="float32")

    def get_config(self):
        return {**super().get_config(), "converter": keras.saving.serialize_keras_object(self.converter)}

    @classmethod
    def from_config(cls, config):
        config = {key: value for key, value in config.items() if key not in ("trainable", "dtype")}
        return cls(keras.saving.deserialize_keras_object(config.pop("converter")), **config)


@dataclasses.dataclass
class Images(Examples):
    """Many images and their targets, read and decoded batch by batch.

    Attributes:
        values: `(rows,)` object array of paths or encoded bytes, or `(rows, height, width, channels)` uint8.
        targets: array with one entry a row, or None.
        preprocessor: the ImagePreprocessor that finishes a batch.
        are_paths: bool. True if `values` are names of files.
    """

    values: np.ndarray
    targets: np.ndarray | None
    preprocessor: ImagePreprocessor
    are_paths: bool = False
    lengths = None

    def __len__(self):
        return len(self.values)

    def digest(self):
        """Returns the SHA-256 of all inputs that are made of them; of files, names, sizes and times stand for them."""
        found = hashlib.sha256(json.dumps(self.preprocessor.get_config(), sort_keys=True).encode())
        if self.values.dtype != object:
            found.update(np.ascontiguousarray(self.values).data)
            return found.hexdigest()
        for image in map(_file_state, self.values) if self.are_paths else self.values:
            found.update(hashlib.sha256(image).digest())
        return found.hexdigest()

    @property
    def signature(self):
        """The `tf.TensorSpec` of what `gather` returns."""
        return tf.TensorSpec((None, *self.values.shape[1:]), tf.string if self.values.dtype == object else tf.uint8)

    def gather(self, rows, width=None):
        """Returns the raw images of these rows."""
        return self.values[rows]

    def finish(self, images):
        """Reads, decodes, resizes and scales a batch, in the graph."""
        if self.are_paths:
            images = tf.map_fn(tf.io.read_file, images)
        return self.preprocessor(images)


def collect(preprocessor, column, targets=None):
    """Makes `Images` of a column of paths, encoded bytes or arrays of whole numbers.

    Arrays of one shape stay as they are. Several shapes, and columns of several kinds, are kept encoded, arrays as
    PNG, which loses nothing.
    """
    images = column.tolist()
    if all(isinstance(image, np.ndarray) for image in images):
        arrays = [_with_channels(image) for image in images]
        if len({array.shape for array in arrays}) == 1:
            return Images(np.stack(arrays).astype("uint8"), targets, preprocessor)
    are_paths = all(isinstance(image, str) for image in images)
    values = np.empty(len(images), dtype=object)
    values[:] = images if are_paths else [encode(image) for image in images]
    return Images(values, targets, preprocessor, are_paths)


def decode(image):
    """Decodes one JPEG, PNG, GIF, BMP or WebP to `(height, width, 3)` uint8, as it is stored: EXIF is not read."""
    pixels = tf.io.decode_image(image, channels=3, expand_animations=False)
    return tf.ensure_shape(pixels, (None, None, 3))


def encode(image):
    """Returns a path's bytes, encoded bytes as they are, or an array as PNG bytes: what a server is sent."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str):
        with open(image, "rb") as file:
            return file.read()
    return tf.io.encode_png(_with_channels(image).astype("uint8")).numpy()


def _file_state(path):
    status = os.stat(path)
    return repr((os.path.abspath(path), status.st_size, status.st_mtime_ns)).encode()


def _with_channels(image):
    return image if image.ndim == 3 else image[..., None]
