"""Images of phantoms, and how well classes can be told apart in them."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def draw(module, entries):
    return np.stack([module.read_entry(entry, entry.split).image for entry in entries])


def accuracy(model, features, entries, classes):
    """The accuracy on the test split after learning from the training split. classes: {label: class} that take part."""
    features = np.reshape(features, (len(entries), -1))
    chosen = {
        split: [n for n, entry in enumerate(entries) if entry.split == split and entry.label in classes]
        for split in ("train", "test")
    }
    truth = {split: [classes[entries[n].label] for n in chosen[split]] for split in chosen}
    return model.fit(features[chosen["train"]], truth["train"]).score(features[chosen["test"]], truth["test"])


def logistic(*steps):
    return make_pipeline(*steps, StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
