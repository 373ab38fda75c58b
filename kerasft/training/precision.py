"""Which number format the hardware at hand computes fastest without loss of score."""

import tensorflow as tf

from kerasft.errors import UserError, nearest

POLICIES = ("auto", "float32", "mixed_bfloat16", "mixed_float16")


def resolve(precision):
    """Returns the Keras dtype policy name for `precision`; `"auto"` asks the hardware."""
    if precision not in POLICIES:
        raise UserError(
            f"precision must be one of {', '.join(POLICIES)}.{nearest(precision, POLICIES)} Received: {precision!r}"
        )
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if _computes_bfloat16() else "float32"


def _computes_bfloat16():
    """True on TPUs, on GPUs from compute capability 8.0 (Ampere), on CPUs with AVX512-BF16 or AMX."""
    if tf.config.list_logical_devices("TPU"):
        return True
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability") for gpu in gpus]
        return all(capability and capability >= (8, 0) for capability in capabilities)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
