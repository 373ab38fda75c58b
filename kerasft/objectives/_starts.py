"""Where the backbone's weights were before they began to learn."""

import keras


class Starts:
    """The pretrained values of the backbone weights that learn, by path."""

    def __init__(self):
        self.values = {}

    def keep(self, model):
        """Keeps the values of the backbone weights that learn from this stage on: until now they were frozen."""
        for weight in backbone_weights(model):
            if weight.path not in self.values:
                # A variable, as a constant would be part of each traced graph; of an array, as Keras shares tensors.
                self.values[weight.path] = keras.Variable(weight.numpy(), trainable=False, dtype=weight.dtype)

    def of(self, weight):
        """Returns the value that a weight of the model had, a tensor."""
        return self.values[weight.path].value


def backbone_weights(model):
    """Returns the weights below the head that learn."""
    head = {id(weight) for weight in model.head.weights}
    return [weight for weight in model.trainable_weights if id(weight) not in head]
