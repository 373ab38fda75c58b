"""What the process of one run does: fit, measure, score."""

import os
import sys
import time
import traceback

import keras
import tensorflow as tf

from kerasft import recipe as recipes
from kerasft import weights
from kerasft.compare import plan, records
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner, load


class Clock(keras.callbacks.Callback):
    """Puts the seconds of an epoch's training, without its validation, into the logs; the first has what comes before.

    Logs are kept with the checkpoint, so an interrupted run knows the seconds of its epochs before.
    """

    began: float | None = None

    def on_train_begin(self, logs=None):
        self.began = time.monotonic()  # Frozen layers run next, for all epochs.

    def on_epoch_begin(self, epoch, logs=None):
        self.began, self.seconds = self.began or time.monotonic(), None

    def on_test_begin(self, logs=None):
        self.seconds = time.monotonic() - self.began

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = self.seconds or time.monotonic() - self.began
        self.began = None


def main(job, began):
    """Runs a job, keeps what is found in its record, and returns the exit code.

    Args:
        job: kerasft.compare.processes.Job, whose record is written.
        began: float. `time.monotonic()` when the process began.
    """
    record = records.read(job.record)
    try:
        tuner = load(job.folder) if "figures" in record else _fitted(job, record, began)
        record["metric"], scores = _scores(tuner, job.test)
        record["scores"] = scores.tolist()
    except Exception as error:  # Whatever ends a run is told in the table; the others go on.
        traceback.print_exc()
        record["error"] = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    records.write(record, job.record)
    return 1 if "error" in record else 0


def _fitted(job, record, began):
    given, arguments = recipes.parted(job.recipe, FineTuner.fit)
    tuner = FineTuner(**given)
    try:
        tuner.pretrained  # noqa: B018
    except UserError:
        record["concerns_all"] = True  # The variants share the backbone.
        raise
    callbacks = [*arguments.pop("callbacks", ()), Clock()]
    tuner.fit(**arguments, callbacks=callbacks, directory=job.folder)
    record["figures"] = {
        "trained_weights": weights.count(tuner.model.trainable_variables),
        "learning_rate": tuner.facts["learning rate"],
        "epochs": len(tuner.history["seconds"]),
        "training_seconds": sum(tuner.history["seconds"]),
        "total_seconds": record.get("seconds", 0) + time.monotonic() - began,
        "peak_memory_mb": _peak_gpu_memory_mb() or _peak_memory_mb(),
        "weights_mb": os.path.getsize(os.path.join(job.folder, "weights.safetensors")) / 1e6,
    }
    records.write(record, job.record)  # Scoring may be interrupted too.
    return tuner


def _scores(tuner, test):
    task = tuner.task
    frame = task.prepare(data_sources.load(test))
    return plan.scorer(task)(task.targets(frame), tuner.outputs(frame), **task.evaluation_arguments())


def _peak_memory_mb():
    """Returns the greatest resident memory of this process, or None where the system does not tell."""
    try:
        # On Linux `ru_maxrss` of a process begins with what its parent had.
        with open("/proc/self/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) / 2**10 for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows.
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _peak_gpu_memory_mb():
    """Returns the greatest memory of all GPUs together, or 0 without any."""
    devices = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices("GPU")]
    return sum(tf.config.experimental.get_memory_info(device)["peak"] for device in devices) / 2**20
