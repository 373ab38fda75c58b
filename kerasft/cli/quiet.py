"""TensorFlow without its greeting."""

import os
import sys
import tempfile


def load_tensorflow():
    """Imports TensorFlow and looks for devices; what it writes meanwhile is dropped, or shown if that fails.

    `TF_CPP_MIN_LOG_LEVEL` stops most lines about oneDNN and CUDA, but not those that are written before the log is
    set up, straight to file descriptor 2. Whoever sets the variable gets everything that it asks for.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with tempfile.TemporaryFile() as kept:
        stderr = os.dup(2)
        try:
            os.dup2(kept.fileno(), 2)
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            kept.seek(0)
            os.write(stderr, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
