"""What processes that are killed need not import each for itself. It computes nothing: TensorFlow cannot be forked."""

from tests import conftest  # noqa: F401, I001  (one thread, before TensorFlow is imported)

import keras_hub  # noqa: F401

import kerasft.evaluation.classification
import kerasft.evaluation.report
import kerasft.fine_tuner  # noqa: F401
