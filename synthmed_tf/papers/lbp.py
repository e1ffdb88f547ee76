"""The classical classifiers of P2 § 3.2 on local binary patterns:
k-NN, SVM and random forest, parameters by cross-validation.
"""

import numpy as np
from joblib import Parallel, delayed, parallel_backend
from skimage.feature import local_binary_pattern
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from synthmed_tf.metrics.grey import LUMA
from synthmed_tf.sample import InputError

RADII = (2, 3, 4)  # P2 § 3.2, pixels
NEIGHBOURS = 8  # a pixel of radius, so that they lie as densely on each circle
FOLDS = 5  # P2 § 3.2
RADIUS_SETS = (*((radius,) for radius in RADII), RADII)  # P2 § 3.2: each radius, and all together
# P2 names no grid. Powers that scikit-learn's documentation and Hsu et al. 2003 take, few of them.
GRIDS = {
    "knn": {"n_neighbors": [1, 3, 5, 9, 15, 25]},
    "svm": {"C": [1, 10, 100], "gamma": ["scale", 0.01]},
    "random_forest": {"min_samples_leaf": [1, 5]},
}


def count_patterns(images, radii=RADII):
    """Histograms of local binary patterns (P2 § 3.2): rotation-invariant, uniform (Ojala et al. 2002), on all cores.

    Colours are turned to grey first, as in P2. Pixels nearer to the edge than the radius are left out.

    Args:
      images: iterable of [height, width, channels] uint8 or uint16, channels 1 or 3 (red, green, blue), sides above
        twice the largest radius.
      radii: in pixels.

    Returns:
      [images, sum of (NEIGHBOURS * radius + 2)] float64: for each radius the shares of the pixels that have each
      pattern.

    Raises:
      ValueError: images too small for the radius.
    """
    jobs = (delayed(_lbp)(image, radii) for image in images)
    return np.array(Parallel(n_jobs=-1, prefer="threads")(jobs))


def _lbp(image, radii):
    image = np.asarray(image)
    if min(image.shape[:2]) <= 2 * max(radii):
        raise ValueError(
            f"patterns of radius {max(radii)} need images above {2 * max(radii)} pixels, found {image.shape}"
        )
    # Whole numbers: rounding noise of a grey mean would make patterns where there are none.
    grey = np.rint(image @ np.float64(LUMA)).astype(np.int32) if image.shape[2] == 3 else image[..., 0].astype(np.int32)
    parts = []
    for radius in radii:
        patterns = local_binary_pattern(grey, NEIGHBOURS * radius, radius, "uniform")[radius:-radius, radius:-radius]
        counts = np.bincount(patterns.astype(int).ravel(), minlength=NEIGHBOURS * radius + 2)
        parts.append(counts / counts.sum())
    return np.concatenate(parts)


def make_folds(classes, groups, seed):
    """Folds with as many images of each class as can be, and no group in two of them.

    Where a class has fewer groups than FOLDS, there are as many folds as it has groups.

    Args:
      classes: [images] int from 0.
      groups: [images] patient or slide, a number of its own for each image that has none.
      seed: of the folds.

    Returns:
      scikit-learn splitter; its n_splits is the number of folds.

    Raises:
      InputError: a class has one group only.
    """
    fewest = min(len(np.unique(groups[classes == number])) for number in np.unique(classes))
    if fewest < 2:
        raise InputError(
            "a class of the classification benchmark has one image, or images of one patient, to learn from; give "
            "two or more, as some are held back to choose parameters on"
        )
    return StratifiedGroupKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)


def train(model, features, classes, groups, seed):
    """Chooses radii and parameters by cross-validated accuracy on these images alone, then fits all of them.

    Scaling is learned in each fold.

    Args:
      model: "knn", "svm" or "random_forest".
      features: [images, features] from `count_patterns` with RADII.
      classes, groups, seed: as for `make_folds`; the seed is that of the forest too.

    Returns:
      (fitted scikit-learn pipeline, {"radii", the parameters, "accuracy" in cross-validation, "folds"}).

    Raises:
      InputError: as `make_folds`.
    """
    splitter = make_folds(classes, groups, seed)
    fitted = min(len(part) for part, _ in splitter.split(features, classes, groups))
    grid = {"radii__kw_args": [{"radii": radii} for radii in RADIUS_SETS]}
    grid |= {f"model__{name}": values for name, values in GRIDS[model].items()}
    if model == "knn":
        grid["model__n_neighbors"] = [count for count in GRIDS["knn"]["n_neighbors"] if count <= fitted]
    classifiers = {
        "knn": KNeighborsClassifier(),
        "svm": SVC(),
        "random_forest": RandomForestClassifier(random_state=seed),
    }
    steps = [("radii", FunctionTransformer(list_columns)), ("scale", StandardScaler()), ("model", classifiers[model])]
    search = GridSearchCV(Pipeline(steps), grid, scoring="accuracy", cv=splitter, n_jobs=-1, error_score="raise")
    with parallel_backend("threading"):  # all three compute outside of Python's lock
        search.fit(features, classes, groups=groups)
    chosen = {
        name.removeprefix("model__"): value for name, value in search.best_params_.items() if name.startswith("model__")
    }
    radii = list(search.best_params_["radii__kw_args"]["radii"])
    return search.best_estimator_, {
        "radii": radii,
        **chosen,
        "accuracy": float(search.best_score_),
        "folds": splitter.n_splits,
    }


def predict(fitted, features):
    """[images, classes] float: probabilities, for an SVM how far on its side of the border an image lies."""
    if not hasattr(fitted, "decision_function"):
        return fitted.predict_proba(features)
    values = fitted.decision_function(features)
    return np.stack([-values, values], 1) if values.ndim == 1 else values


def list_columns(features, radii=RADII):
    """The columns of `count_patterns` with RADII that belong to these radii."""
    ends = np.cumsum([NEIGHBOURS * radius + 2 for radius in RADII])
    parts = dict(zip(RADII, np.split(features, ends[:-1], axis=1), strict=True))
    return np.concatenate([parts[radius] for radius in radii], 1)
