"""The axes of a kernel as letters of an einsum, and the einsum as one product of matrices."""

import string

import keras
import tensorflow as tf


class Axes:
    """The axes of a layer's kernel as letters of an einsum: the layer computes `"{read},{kernel}->{written}"`.

    Attributes:
        kernel: str. inputs: str, the axes that are summed over. outputs: str, the others.
        read, written: str. Of what the layer gets and returns; `read` only where it computes an einsum.
        rest: str. `read` without the inputs.
        free: str. A letter that none of them has.
    """

    def __init__(self, layer):
        if isinstance(layer, keras.layers.EinsumDense):
            self.read, rest = layer.equation.split(",")
            self.kernel, self.written = rest.split("->")
        else:
            variable = layer.embeddings if isinstance(layer, keras.layers.Embedding) else layer.kernel
            self.kernel = string.ascii_lowercase[: len(variable.shape)]
            self.read, self.written = f"...{self.kernel[:-1]}", f"...{self.kernel[-1]}"
        self.inputs = "".join(letter for letter in self.kernel if letter not in self.written)
        self.outputs = "".join(letter for letter in self.kernel if letter in self.written)
        self.rest = "".join(letter for letter in self.read if letter not in self.inputs)
        used = self.read + self.kernel + self.written
        self.free = next(letter for letter in string.ascii_lowercase if letter not in used)

    def sizes(self, shape):
        """Returns the sizes of the inputs and of the outputs of a kernel of this shape, two tuples."""
        sizes = dict(zip(self.kernel, shape, strict=True))
        return tuple(sizes[letter] for letter in self.inputs), tuple(sizes[letter] for letter in self.outputs)


def product(x, kernel, read, letters, written):
    """Returns `tf.einsum(f"{read},{letters}->{written}", x, kernel)`, as one product of two matrices.

    On a CPU `tf.einsum` itself takes 3 times as long for `"...a,ab->...b"`, in bfloat16 10 times, and longer yet for
    gradients.
    """
    summed = [letter for letter in letters if letter in read]
    if any(letter in written for letter in summed) or "." in read.lstrip("."):
        return tf.einsum(f"{read},{letters}->{written}", x, kernel)
    axes = [[read.index(letter) - len(read) for letter in summed], [letters.index(letter) for letter in summed]]
    made = "".join(letter for letter in read + letters if letter not in summed)
    outputs = tf.tensordot(x, kernel, axes)
    return outputs if made == written else tf.einsum(f"{made}->{written}", outputs)


def scaled(x, factor, axes, letters):
    """Returns `tf.einsum(f"{axes},{letters}->{axes}", x, factor)`, as a multiplication with broadcasting.

    `tf.einsum` itself multiplies a matrix of one number with another for each number of `x`: hundreds of times as slow.
    """
    if "." in axes.lstrip("."):
        return tf.einsum(f"{axes},{letters}->{axes}", x, factor)
    order = sorted(letters, key=axes.index)
    factor = tf.transpose(tf.convert_to_tensor(factor), [letters.index(letter) for letter in order])
    sizes = dict(zip(order, factor.shape, strict=True))
    return x * tf.reshape(factor, [sizes.get(letter, 1) for letter in axes.lstrip(".")])
