"""How long a training is: epochs as steps, and batches for small sets."""

from synthmed_tf.sample import InputError

# Steps of P2's shortest training, § 3.1 and table 1: 30 epochs of a group of X-Norm-L, 71,026 / 30 images, batches of
# 32. P2's epochs of a few dozen images would be no training.
P2_LEAST_STEPS = 2220


def count_steps(epochs, count, batch_size, what="epochs"):
    """Steps of P2's epochs over `count` images, but no fewer than P2_LEAST_STEPS; prints where these are more."""
    steps = -(-epochs * count // batch_size)
    if steps < P2_LEAST_STEPS:
        print(
            f"{P2_LEAST_STEPS:,} steps, as many as P2's shortest training took, instead of {epochs} {what} of {count} "
            "images, which would be fewer"
        )
    return max(steps, P2_LEAST_STEPS)


def fit_batch(batch_size, count, is_given, data):
    """The batch of a training on images that are not warped: the preset's, or all `count` images where these are fewer.

    Raises:
      InputError: the user gave the batch, and there are fewer images.
    """
    if batch_size <= count:
        return batch_size
    if is_given:
        raise InputError(
            f"--batch_size={batch_size}: the training split of {data} has {count} images, fewer than a batch; "
            f"give --batch_size={count} or less"
        )
    print(f"batches of {count}, as there are no more training images (the preset has {batch_size})")
    return count
