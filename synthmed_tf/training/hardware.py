"""What a training computes on: precision, determinism, the strategy for several GPUs."""

import tensorflow as tf

from synthmed_tf.sample import InputError


def set_up(precision="float32", strategy="default"):
    """Makes TensorFlow deterministic, sets the precision policy, and returns (tf.distribute strategy, policy name).

    On CPUs oneDNN and Eigen give the same bits in every run with the same number of threads, and TensorFlow's op
    determinism would make them single-threaded (half the speed on 2 cores), so it is switched on for GPUs alone.

    `auto` is mixed_bfloat16 where that is faster (CPUs with amx_bf16, AMD's with avx512_bf16, GPUs of compute
    capability 8 and up), else float32. Intel's avx512_bf16 without amx_bf16 takes 1.3 to 1.6 times as long as its
    float32.

    Raises:
      InputError: `mirrored` without a GPU.
    """
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()
    if precision == "auto":
        precision = "mixed_bfloat16" if _computes_bfloat16() else "float32"
    tf.keras.mixed_precision.set_global_policy(precision)
    if strategy == "mirrored":
        if not tf.config.list_logical_devices("GPU"):
            raise InputError("--strategy=mirrored: TensorFlow sees no GPU here; leave the flag out")
        return tf.distribute.MirroredStrategy(), precision
    return tf.distribute.get_strategy(), precision


def choose_precision(preset):
    """What --precision is where the user does not say: the papers computed in float32."""
    return "auto" if preset == "small_data" else "float32"


def _computes_bfloat16():
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))[0] >= 8
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            words = set(file.read().split())
    except FileNotFoundError:
        return False
    return "amx_bf16" in words or {"AuthenticAMD", "avx512_bf16"} <= words
