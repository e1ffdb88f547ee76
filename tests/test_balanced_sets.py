import numpy as np
import pytest

from synthmed_tf.evaluation import balanced_sets
from synthmed_tf.sample import InputError


def test_sets_are_balanced_by_the_classes_within_a_target_class():
    labels = ["female 18-38"] * 9 + ["female 48-68"] * 4 + ["male 18-38"] * 5 + ["male 48-68"] * 7
    images = balanced_sets.Images("the set", None, np.array(labels, object), None, "")
    genders = {name: name.split()[0] for name in labels}

    def counts(classes, most=100, seed=0):
        chosen = images.labels[balanced_sets.balance(images, classes, seed, most)].tolist()
        return {name: chosen.count(name) for name in classes}

    assert counts(genders) == dict.fromkeys(genders, 4)
    assert counts(genders, most=13) == dict.fromkeys(genders, 3)
    assert counts({"female 18-38": "a", "female 48-68": "b", "male 48-68": "b"}) == {
        "female 18-38": 8,
        "female 48-68": 4,
        "male 48-68": 4,
    }
    few = {"female 18-38": "a", "female 48-68": "b", "male 18-38": "b", "male 48-68": "b"}
    assert sorted(counts(few, most=4).values()) == [0, 1, 1, 2]  # of each target class as many all the same
    draws = {tuple(balanced_sets.balance(images, genders, [seed, 0], 100)) for seed in range(5)}
    assert len(draws) > 1 and all(len(set(draw)) == 16 for draw in draws)
    with pytest.raises(InputError, match="the set hold no image of the class 'male 39-47'"):
        counts(genders | {"male 39-47": "male"})
