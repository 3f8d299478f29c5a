"""Divide the series of a run into groups, for each of which an expert is trained.

Shapes: S series, F features.
"""

from __future__ import annotations

import numpy as np
import torch

from potstill.data.series.splits import part_bounds
from potstill.data.series.store import Store
from potstill.families.experts.features import series_features

_STARTS = 50  # of k-means; the one with the least distortion counts
_FEATURE_STEPS = 512  # the newest training steps of a series, whose features decide its cluster


def group_series(store: Store, split: str, by: str, seed: int) -> dict[str, np.ndarray]:
    """Indices of the series of each group, by the group's name.

    Parameters
    ----------
    store
        The series; those that cannot be trained on are in no group.
    split
        The run's split: clusters are found in the training parts alone.
    by
        ``domain`` (the data set), ``frequency`` (the step of the data set, without weekday or month), or ``cluster:N``
        (N clusters by k-means of the standardised features that the router reads).
    seed
        Of k-means.
    """
    usable = np.flatnonzero(store.usable)
    if by == "domain":
        labels = np.array(store.datasets)[store.dataset_of[usable]]
    elif by == "frequency":
        labels = np.array([step.split("-")[0] or "no time" for step in store.frequency])[store.dataset_of[usable]]
    else:
        clusters = _clusters(_features(store, split, usable), int(by.removeprefix("cluster:")), seed)
        labels = np.array([f"cluster-{number + 1}" for number in clusters])
    return {str(label): usable[labels == label] for label in np.unique(labels)}


def _features(store: Store, split: str, series: np.ndarray) -> np.ndarray:
    """``[S, F]``, standardised over the series."""
    start, end = part_bounds(store, split, "train")
    contexts = np.full((len(series), _FEATURE_STEPS), np.nan, np.float32)
    for row, i in enumerate(series.tolist()):
        values = store.series(i)[start[i] : end[i]][-_FEATURE_STEPS:]
        contexts[row, _FEATURE_STEPS - len(values) :] = values
    features = series_features(torch.from_numpy(contexts)).double().numpy()
    spread = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(spread > 1e-6, spread, 1.0)


def _clusters(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The number of each row's cluster; clusters without a row are left out."""
    from scipy.cluster.vq import kmeans, vq

    count = min(count, len(np.unique(features, axis=0)))
    centres, _ = kmeans(features, count, iter=_STARTS, rng=seed)
    labels, _ = vq(features, centres)
    return np.unique(labels, return_inverse=True)[1]
