"""Where the backbone's weights were before they began to learn."""

import keras


class Starts:
    """The pretrained values of the backbone weights that learn.

    Not by path: some of KerasHub's backbones, such as SmolLM3, have weights of one path in several layers.
    """

    def __init__(self):
        self.values = {}  # `{id: (weight, value)}`; while the weight is here, no other has its id.

    def keep(self, model):
        """Keeps the values of the backbone weights that learn from this stage on: until now they were frozen."""
        for weight in backbone_weights(model):
            if id(weight) not in self.values:
                # A variable, as a constant would be part of each traced graph; of an array, as Keras shares tensors.
                value = keras.Variable(weight.numpy(), trainable=False, dtype=weight.dtype)
                self.values[id(weight)] = weight, value

    def of(self, weight):
        """Returns the value that a weight of the model had, a tensor."""
        _, value = self.values[id(weight)]
        return value.value


def backbone_weights(model):
    """Returns the weights below the head that learn."""
    head = {id(weight) for weight in model.head.weights}
    return [weight for weight in model.trainable_weights if id(weight) not in head]
