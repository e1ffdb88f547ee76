"""Chest X-ray phantoms: frontal X-rays drawn from a simple anatomy, with gender and age. No download.

What gender and age do to a chest is in `draw_anatomy`. The traits of the groups overlap, and exposure and pose differ
from X-ray to X-ray; brightness alone tells no groups apart. Lengths: the frame reaches from -1 to 1, x to the right
(the patient's left), y downwards. Shapes, greys and their spread are fitted by eye to the Shenzhen set (Jaeger et al.
2014).
"""

import math
from typing import NamedTuple

import numpy as np

from synthmed_tf.datasets import study_groups
from synthmed_tf.datasets.files import Entry
from synthmed_tf.datasets.phantoms.chest import SIZE, draw_chest
from synthmed_tf.sample import Sample

VERSION = 1  # part of the fingerprint of prepared sets: raise it whenever a pixel of any X-ray changes
COUNT = 600  # X-rays: 408 to train on, 68 a group, and 192 to test on, 32 a group
TRAINING = 408
SEED = (
    20190217  # all randomness is a function of (SEED, patient, 0 or 1) and (SEED, number, 2): 0 age, 1 anatomy, 2 X-ray
)
GROUPS = [(gender, *ages) for gender in study_groups.GENDERS for ages in study_groups.BINS["young_mature"]]
ROUND = 4 * len(GROUPS)  # X-rays of three patients a group, the third of whom has two


class Anatomy(NamedTuple):
    """What one patient's chest looks like, the same in all X-rays.

    Lengths in the patient's frame, contrasts 1 on average.
    """

    gender: str
    age: int  # years
    thorax: float  # half the inner width of the rib cage
    apex: float  # y of the tips of the lungs
    base: float  # y of the right dome of the diaphragm
    cardiothoracic: float  # width of the heart / inner width of the rib cage
    knob: float  # radius of the aortic knob
    aorta: float  # how far the descending aorta stands out from the spine
    bone: float  # contrast of ribs, clavicles and spine
    rib: float  # half the width of a rib
    slant: float  # how steeply the ribs fall
    vessels: float  # contrast of the lung markings
    breast: float  # thickness of breasts, or of pectoral muscles
    breast_place: tuple[float, float]  # distance from the midline, y
    breast_radius: float
    flank: float  # soft tissue outside of the rib cage
    scoliosis: float  # sideways bend of the spine
    heart_tilt: float
    dome: float  # height of the diaphragm's domes


def find_patient(number):
    """Number of the patient whom an X-ray shows. X-rays are 0 to COUNT - 1; patient p belongs to GROUPS[p % 6]."""
    visit, place = divmod(number, ROUND)
    return (3 * visit + min(place // len(GROUPS), 2)) * len(GROUPS) + place % len(GROUPS)


def draw_person(patient):
    """(gender, age in years) of a patient."""
    gender, first, last = GROUPS[patient % len(GROUPS)]
    return gender, int(np.random.default_rng([SEED, patient, 0]).integers(first, last + 1))


def draw_anatomy(patient):
    """Draws a patient.

    Women's rib cages are narrower and shorter, their ribs thinner, their hearts relatively wider, their breasts
    thicker. With age the heart and the aorta widen, the chest gets shorter (kyphosis), ribs lose calcium and fall more
    steeply, and lung markings grow.
    """
    gender, age = draw_person(patient)
    rng = np.random.default_rng([SEED, patient, 1])
    male, old = gender == "male", (age - 43) / 25  # -1 at 18, 1 at 68
    return Anatomy(
        gender=gender,
        age=age,
        thorax=rng.normal(0.67 if male else 0.635, 0.03),
        apex=rng.normal(-0.67, 0.025),
        base=rng.normal(0.40 if male else 0.34, 0.05) - 0.04 * old,
        cardiothoracic=rng.normal(0.43 if male else 0.45, 0.025) + 0.04 * old,
        knob=max(0.02, rng.normal(0.068 if male else 0.062, 0.010) + 0.024 * old),
        aorta=max(0.0, rng.normal(0.02, 0.012) + 0.02 * old),
        bone=max(0.3, rng.normal(1.08 if male else 0.92, 0.15) - 0.2 * old),
        rib=rng.normal(0.031 if male else 0.0245, 0.002),
        slant=rng.normal(1.0, 0.13) + 0.12 * old,
        vessels=max(0.3, rng.normal(1.0, 0.2) + 0.3 * old),
        breast=max(0.0, rng.normal(0.08, 0.10) if male else rng.normal(0.48, 0.26)),
        breast_place=(rng.uniform(0.36, 0.46), rng.normal(0.17, 0.04) + 0.03 * old),
        breast_radius=rng.uniform(0.22, 0.32),
        flank=rng.uniform(0.10, 0.20),
        scoliosis=rng.normal(0, 0.015),
        heart_tilt=rng.uniform(0.15, 0.45),
        dome=rng.uniform(0.08, 0.14),
    )


def list_entries(data_dir, labels=None):
    """Lists the X-rays without drawing them. data_dir is not read.

    Args:
      labels: age bins, see `study_groups.parse_bins`; None: those by which the set is balanced.

    Returns:
      list of Entry; group is the patient, label the study group, None where the age is in no bin.

    Raises:
      InputError: no such bins.
    """
    bins = study_groups.parse_bins(labels or "young_mature")
    entries = []
    for number in range(COUNT):
        patient = find_patient(number)
        entries.append(
            Entry(
                id=f"phantom_xray_{number:03d}",
                group=f"patient_{patient:03d}",
                split="train" if number < TRAINING else "test",
                image=None,
                label=study_groups.label_person(*draw_person(patient), bins),
            )
        )
    return entries


def read_entry(entry, split):
    """Draws the X-ray of an Entry. Returns: Sample with image [256, 256, 1] uint16."""
    return Sample(id=entry.id, image=draw_xray(int(entry.id[-3:])), label=entry.label, group=entry.group, split=split)


def draw_xray(number):
    """Draws an X-ray, a pure function of its number.

    Returns:
      [256, 256, 1] uint16, dense tissue bright, air dark.
    """
    from scipy import ndimage

    body = draw_anatomy(find_patient(number))
    rng = np.random.default_rng([SEED, number, 2])
    x, y = _draw_pose(rng)
    density = draw_chest(rng, body, x, y)
    density = ndimage.gaussian_filter(density, rng.uniform(0.5, 0.9), truncate=3)  # focal spot and screen
    photons = np.float32(rng.uniform(0.004, 0.009)) * np.exp(0.4 * density)  # noise grows where few photons arrive
    density += photons * rng.standard_normal(density.shape, np.float32)
    contrast, centre = rng.uniform(3.0, 3.8), rng.uniform(0.66, 0.86)
    response = 1 / (1 + np.exp(-contrast * (density - centre)))  # the characteristic curve of film
    grey = rng.uniform(0.0, 0.04) + rng.uniform(0.88, 0.96) * response
    top, left = rng.integers(8, 30), rng.integers(210, 236)  # the lead letter L at the patient's left
    grey[top : top + 11, left : left + 3] = grey[top + 8 : top + 11, left : left + 8] = rng.uniform(0.93, 1.0)
    return np.round(np.clip(grey, 0, 1) * 65535).astype(np.uint16)[..., None]


def _draw_pose(rng):
    """x, y [256, 256] float32 of the pixels' centres in the patient's frame."""
    turn, scale = rng.normal(0, 0.025), rng.normal(0.96, 0.03)  # radians; people stand nearly straight
    dx, dy = rng.normal(0, 0.03), rng.normal(-0.02, 0.035)
    axis = (np.arange(SIZE, dtype=np.float32) + 0.5) * (2 / SIZE) - 1
    column, row = axis[None, :], axis[:, None]
    cos, sin = np.float32(scale * math.cos(turn)), np.float32(scale * math.sin(turn))
    return cos * column - sin * row + np.float32(dx), sin * column + cos * row + np.float32(dy)
