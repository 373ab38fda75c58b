"""ConvNeXt's layer scale, with a weight that has a name."""

import keras


@keras.saving.register_keras_serializable("kerasft")
class LayerScale(keras.layers.Layer):
    """Multiplies each channel by a weight that begins near zero.

    Keras's own gives the weight no name but a number, which is another each time the model is built; a delta, which is
    kept by path, could not be loaded.

    Args:
        init_values: float. What the weights begin with.
        projection_dim: int. Number of channels.

    Input shape: `(…, projection_dim)`.
    Output shape: the same.
    Source: Touvron et al. 2021, https://arxiv.org/abs/2103.17239, section 2.
    """

    def __init__(self, init_values, projection_dim, **kwargs):
        super().__init__(**kwargs)
        self.init_values = init_values
        self.projection_dim = projection_dim

    def build(self, input_shape):
        initializer = keras.initializers.Constant(self.init_values)
        self.gamma = self.add_weight(name="gamma", shape=(self.projection_dim,), initializer=initializer)

    def call(self, x):
        return x * self.gamma

    def get_config(self):
        return {**super().get_config(), "init_values": self.init_values, "projection_dim": self.projection_dim}
