"""Number format and devices of a run."""

import contextlib
import pathlib


class OneDevice:
    """Stands for a `tf.distribute.Strategy` where there is no TensorFlow."""

    num_replicas_in_sync = 1

    def scope(self):
        """Returns a context that does nothing."""
        return contextlib.nullcontext()


def dtype_policy(precision):
    """Returns the Keras dtype policy for a `--precision`.

    `"auto"` takes bfloat16 where TensorFlow runs and the processor, or every
    GPU if there are any, multiplies it natively. Elsewhere it takes float32,
    and on other Keras backends in any case.
    """
    if precision == "auto":
        precision = "bfloat16" if has_native_bfloat16() else "float32"
    return "mixed_bfloat16" if precision == "bfloat16" else "float32"


def has_native_bfloat16():
    """Whether bfloat16 products run at full speed where TensorFlow runs."""
    if not _on_tensorflow():
        return False
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        # From compute capability 8.0 (Ampere) on.
        details = [tf.config.experimental.get_device_details(g) for g in gpus]
        return all(
            detail.get("compute_capability", (0, 0)) >= (8, 0)
            for detail in details
        )
    try:
        flags = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def distribution(strategy):
    """Returns the `tf.distribute.Strategy` for a `--strategy`.

    On another Keras backend than TensorFlow there is one device.
    """
    if not _on_tensorflow():
        return OneDevice()
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    if strategy == "none" or (strategy == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _on_tensorflow():
    import keras

    return keras.backend.backend() == "tensorflow"
