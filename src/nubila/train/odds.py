"""How often each image is drawn: by its folder, or by what its name begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nubila.errors import ManifestError, nearest
from nubila.train.samples import Labelled, folders, image_ids

__all__ = ["image_weights", "no_folder", "tell_named"]


def image_weights(
    key: str, weights: Mapping[str, float], samples: Sequence[Labelled]
) -> NDArray[np.float64]:
    """Return the weight of each image by where it is from, 1 where nothing is said of it.

    Weights may be of sources and images that are not all at hand, but not of a folder that is
    misspelt.

    Args:
        key: of the recipe, for messages.
        weights: folder, or beginning of an image's name with a slash in it -> weight. What says
            more of a name counts.
        samples: training images.

    Raises:
        ManifestError: a name is of no image, and near to a folder without a weight.
    """
    of, ids = folders(samples), image_ids(samples)
    known = sorted(set(of))
    without = [name for name in known if name not in weights]
    for name in weights:
        folder = name.partition("/")[0]
        if folder not in known and nearest(folder, without):
            raise ManifestError(no_folder(key, folder, without, known))
    by_name = sorted((name for name in weights if "/" in name), key=len, reverse=True)
    return np.array(
        [
            weights.get(next((b for b in by_name if name.startswith(b)), folder), 1.0)
            for folder, name in zip(of, ids, strict=True)
        ]
    )


def no_folder(key: str, name: str, likely: Sequence[str], known: Sequence[str]) -> str:
    """Return what to say of a name in a recipe that is no folder of the training images."""
    return (
        f"{key}: no training image is of folder {name!r}{nearest(name, likely)} (found: "
        f"{', '.join(known)})"
    )


def tell_named(
    key: str,
    weights: Mapping[str, float],
    samples: Sequence[Labelled],
    report: Callable[[str], None],
) -> None:
    """Report how many images each name in a recipe's weights is of; none is no error.

    An image may be held out, as in a cross-validation; a misspelt name would look the same.

    Args:
        key: of the recipe.
        weights: as `image_weights`.
        samples: training images.
        report: called with each line for people.
    """
    ids = set(image_ids(samples))
    for name in (name for name in weights if "/" in name):
        count = sum(each.startswith(name) for each in ids)
        report(f"  {key}: {name} is of {count or 'no'} training image{'s'[: count != 1]}")
