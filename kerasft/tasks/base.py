"""What a task is: what is predicted, from what, and how it is scored and served."""

from typing import ClassVar


class Task:
    """One kind of prediction. A subclass is one file: columns, preprocessor, head, loss, metrics, decoding.

    Attributes:
        modality: str. `"text"` or `"image"`: the backbones it works with.
        evaluation: str. The file of `kerasft/evaluation/` that scores it.
        monitor: pair of the name of the validation metric to keep the best weights by, and `"max"` or `"min"`.
        inputs: names of the columns it reads, the optional ones included.
    """

    modality: ClassVar[str]
    evaluation: ClassVar[str]
    monitor: ClassVar[tuple[str, str]]

    def prepare(self, frame, with_targets=True, quarantine=None):
        """Returns the frame with the task's own columns, each value checked; learns the labels if need be.

        Rows that cannot be used are refused, or left to `quarantine`, a `pipeline.clean.Quarantine`.
        """
        raise NotImplementedError

    def frame_of(self, inputs):
        """Returns a frame of the task's input columns for what `predict` was given."""
        raise NotImplementedError

    def preprocessor(self, pretrained):
        """Returns the Keras layer that turns raw input into the backbone's, for training and serving alike."""
        raise NotImplementedError

    def examples(self, frame, preprocessor, with_targets=True):
        """Returns the store of examples that `kerasft.pipeline.batching.dataset` reads from."""
        raise NotImplementedError

    def head(self, pretrained):
        """Returns the Keras layer from the backbone's features to the output."""
        raise NotImplementedError

    def loss(self):
        """Returns the `keras.losses.Loss`."""
        raise NotImplementedError

    def metrics(self):
        """Returns the list of Keras metrics that `fit` shows."""
        raise NotImplementedError

    def decode(self, outputs):
        """Returns the dict of tensors that `predict` and the exported signature give, from the model's output."""
        raise NotImplementedError

    def signature(self):
        """Returns the `tf.TensorSpec`s of the exported signature, by name."""
        raise NotImplementedError

    def request(self, frame):
        """Returns arrays by name of the exported signature's inputs for these rows."""
        raise NotImplementedError

    def edge_cases(self):
        """Returns a frame of unusual but valid inputs, on which each export is checked against `predict`."""
        raise NotImplementedError

    def evaluation_arguments(self):
        """Returns what the file of `kerasft/evaluation/` needs to know beside targets, outputs and frame."""
        raise NotImplementedError

    def get_config(self):
        """Returns the arguments that make an equal task, labels learned from the data included."""
        raise NotImplementedError
