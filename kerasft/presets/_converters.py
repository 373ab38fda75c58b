"""Layers that turn pixels into what a family of image models was trained on."""

import keras


@keras.saving.register_keras_serializable("kerasft")
class ApplicationsConverter(keras.layers.Layer):
    """Resizes, then does what `keras.applications.<family>.preprocess_input` does.

    Args:
        family: str. A module of `keras.applications`, such as `"resnet_v2"`.
        image_size: pair of int, `(height, width)`.

    Input shape: `(batch, height, width, 3)`, 0 to 255.
    Output shape: `(batch, *image_size, 3)`, float.
    """

    def __init__(self, family, image_size, **kwargs):
        super().__init__(trainable=False, **kwargs)
        self.family = family
        self.image_size = tuple(image_size)
        self.resizing = keras.layers.Resizing(*self.image_size, antialias=True)
        self.built = True

    def call(self, images):
        return getattr(keras.applications, self.family).preprocess_input(self.resizing(images))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.image_size, 3)

    def get_config(self):
        config = {key: value for key, value in super().get_config().items() if key != "trainable"}
        return {**config, "family": self.family, "image_size": self.image_size}
