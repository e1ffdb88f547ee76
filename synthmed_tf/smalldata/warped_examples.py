"""What a generator is shown by default: real images, or masks as two fields, warped anew in each batch."""

import numpy as np

from synthmed_tf.images.field_of_view import fill_outside
from synthmed_tf.smalldata import fields, recombine, threshold, warp
from synthmed_tf.training import batches
from synthmed_tf.training.examples import Examples

FIELD_SCALE = 3.0  # pixels up to 128, in proportion above: where a field is tanh(1); the centreline is half as wide
PROBABILITY_RULE = {"weight": 0.0, "joining": True}  # of masks whose first field is a probability


class WarpedImages(Examples):
    """Images, warped anew each time they are shown.

    A photograph goes on beyond its field of view while it is warped, so that its rim stays where the camera has it.
    """

    def __init__(self, real, *arguments, **options):
        super().__init__(real, *arguments, **options)
        self.warp = {"zoom": 1.04, "elastic": 0.015, "flip": (False, True)} | choose_warp(real[0])

    def make_stack(self, samples):
        rows = []
        for sample in samples:
            image = sample.image / (np.iinfo(sample.image.dtype).max / 2) - 1
            image, light = fill_outside(image, sample.field_of_view)
            rows.append(np.concatenate([image, light], -1, dtype=np.float32))
        return np.stack(rows)

    def show(self, rows, key):
        light = rows[..., -1:]
        return light * (warp.warp_at_random(rows[..., :-1], key, **self.warp) + 1) - 1


class MaskFields(Examples):
    """Masks as two fields, distance to the wall and centreline, each time warped anew; eyes with halves of others.

    All eyes are turned so that the optic disc is on the left; half of the samples are mirrored back.

    Attributes:
      rule: arguments of fields.make_mask, by which fields become masks; see threshold.calibrate.
      has_probability: whether the first field is the probability of mask instead, as a decoder makes it.
    """

    mirrors = True
    has_probability = False

    def __init__(self, real, *arguments, **options):
        super().__init__(real, *arguments, **options)
        self.rule = {}
        self.warp = {"zoom": 1.04, "elastic": 0.015, "flip": (False, False)} | choose_warp(real[0])
        self.discs = None
        if real[0].field_of_view is not None:
            self.discs = np.array([recombine.find_disc(row[..., :1] > 0) for row in self.stack])

    def make_stack(self, samples):
        rows = []
        for sample in samples:
            mask, view = sample.mask, sample.field_of_view
            view = np.ones_like(mask) if view is None else view
            if sample.field_of_view is not None and recombine.is_disc_right(mask):
                mask, view = mask[:, ::-1], view[:, ::-1]
            scale = FIELD_SCALE * max(1, min(mask.shape[:2]) / 128)
            rows.append(np.concatenate([fields.make_fields(mask, scale, scale / 2), view], -1, dtype=np.float32))
        return np.stack(rows)

    def batch(self, step):
        if self.discs is None:
            return super().batch(step)
        chosen = batches.draw_batch_indices(len(self.stack), self.batch_size, self.seed, step)
        return (recombine.recombine(self.stack, self.discs, chosen, [self.seed, 3, step]),)

    def show(self, rows, key):
        shown, view = super().show(rows, key), rows[..., -1:]
        return view * (warp.warp_at_random(shown, key, **self.warp) + 1) - 1

    def calibrate(self, generate, noise_shape):
        drawn = threshold.draw_fields(generate, noise_shape, self.seed)
        self.rule = threshold.calibrate(drawn, self.watched, PROBABILITY_RULE if self.has_probability else {})

    def to_pictures(self, output):
        return np.stack([fields.make_mask(each, **self.rule) for each in np.asarray(output)])


def choose_warp(sample):
    """How samples like this one are warped, where that differs from eyes.

    Masks without a field of view, as those of cells, are mirrored at random: learned one way round they were copied
    sooner. X-rays, labelled and grey, are turned and bent a little and never mirrored, as the heart is on the left.
    Labelled tiles in colour have neither top nor bottom: they are seen in their eight orientations, each pixel as it
    is.
    """
    if sample.field_of_view is not None:
        return {}
    if sample.label is None:
        return {"flip": (False, True)}
    if sample.image.shape[-1] == 1:
        return {"rotation": 4.0, "aspect": 0.04, "elastic": 0.006, "flip": (False, False), "enlarged": 2}
    square = sample.image.shape[0] == sample.image.shape[1]
    return {"rotation": 0.0, "zoom": 1.0, "aspect": 0.0, "elastic": 0.0, "flip": (True, True), "quarter_turns": square}
