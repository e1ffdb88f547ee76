import dataclasses
import types

import numpy as np
import pytest
from pictures import make_pairs

from synthmed_tf.evaluation import baseline, privacy_audit, similarity
from synthmed_tf.sample import Sample

RNG = np.random.default_rng(0)


def test_a_set_is_measured_by_what_it_has():
    training, synthetic, test = make_pairs("r", 5), make_pairs("s", 6), make_pairs("t", 4)
    against = {"real": training, "held_out": test, "seed": 3}
    everything = ("segmentation", "distribution", "fidelity", "morphology", "copies", "privacy")
    found = baseline.compare_with_real(synthetic, benchmarks=everything, **against)
    assert list(found) == ["distribution", "fidelity", "privacy", "morphology", "copies"]
    assert found["privacy"] == privacy_audit.audit_images(training, synthetic, test, 3)
    assert found["distribution"] == similarity.compare_intensities(training, synthetic, test, 3)
    assert found["fidelity"] == similarity.compare_features(training, synthetic, test, 3)
    assert found["morphology"] == similarity.compare_shapes(training, synthetic, test)
    assert found["copies"] == privacy_audit.audit_masks(training, synthetic, test, 3)
    assert found["copies"]["likeness"]["protocol"]["seed"] == 3  # as of all that is random
    assert baseline.compare_with_real(synthetic, benchmarks=["copies"], **against) == {"copies": found["copies"]}

    def blind(samples):
        return [Sample(sample.id, sample.image, None, sample.field_of_view) for sample in samples]

    bare = baseline.compare_with_real(blind(synthetic), benchmarks=everything, **against)
    assert (
        list(bare) == ["distribution", "fidelity", "privacy"]
        and bare["privacy"] == found["privacy"]
        and bare["distribution"] == found["distribution"]
    )
    assert bare["fidelity"] == {"photographs": found["fidelity"]["photographs"]}
    against |= {"held_out": blind(test)}  # beside a set without masks, one that has them
    assert baseline.compare_with_real(synthetic, benchmarks=["fidelity"], **against) == {"fidelity": bare["fidelity"]}


def test_a_set_without_fields_of_view_gets_them_where_the_real_set_has_them():
    class Set(list):
        features = ("image", "mask")

    rows, columns = np.ogrid[:32, :32]
    view = ((rows - 15.5) ** 2 + (columns - 15.5) ** 2 < 14**2).astype(np.uint8)[..., None]
    real = Set(
        Sample(str(index), RNG.integers(120, 255, (32, 32, 3)).astype(np.uint8) * view, view, view)
        for index in range(8)
    )
    real.features += ("field_of_view",)
    bare = Set(dataclasses.replace(sample, field_of_view=None) for sample in real)
    seen = baseline.WithViews(bare, real)
    assert len(seen) == 8 and [sample.id for sample in seen[2:4]] == ["2", "3"]
    assert np.mean(seen[0].field_of_view != view) < 0.02
    divergence = [
        similarity.compare_intensities(real, some)["kl_intensity"]["synthetic_vs_real"]["grey"] for some in (seen, bare)
    ]
    assert divergence[0] < 0.05 < 0.2 < divergence[1]
    assert [*baseline.WithViews(real, real)] == [*real] and [*baseline.WithViews(bare, bare)] == [*bare]


@pytest.mark.parametrize(
    "asked, has, runs, not_run",
    [
        (None, "label", {"distribution", "fidelity", "privacy", "classification"}, set()),
        (None, "mask", {"distribution", "fidelity", "privacy", "segmentation", "morphology", "copies"}, set()),
        (None, "", {"distribution", "fidelity", "privacy"}, {"segmentation", "morphology", "copies"}),
        (
            None,
            "mask label",
            {"distribution", "fidelity", "privacy", "classification", "segmentation", "morphology", "copies"},
            set(),
        ),
        (["copies", "classification"], "label", {"classification"}, {"copies"}),
        (["copies", "classification"], "mask", {"copies"}, {"classification"}),
    ],
)
def test_what_is_measured_follows_from_what_the_set_has(asked, has, runs, not_run):
    both = types.SimpleNamespace(
        features=dict.fromkeys(has.split()), class_names=["a", "b"] if "label" in has else None
    )
    found, unavailable = baseline.choose_benchmarks(asked, both, both)
    assert found == runs and unavailable.keys() == not_run
