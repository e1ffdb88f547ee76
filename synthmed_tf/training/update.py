"""One update of a network."""

import tensorflow as tf


def update(optimizer, gradients, model):
    """Applies gradients to the trainable variables of `model`; on several GPUs the mean of theirs.

    Args:
      gradients: list, one a variable; None: the variable stays as it is, as those of a PGGAN's other levels.
    """
    count = tf.distribute.get_replica_context().num_replicas_in_sync
    if count > 1:  # an optimiser sums over GPUs
        gradients = [None if gradient is None else gradient / count for gradient in gradients]
    pairs = zip(gradients, model.trainable_variables, strict=True)
    optimizer.apply_gradients([pair for pair in pairs if pair[0] is not None])
