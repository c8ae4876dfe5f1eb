"""The tile store: labelled images cut once, read many times, and what they hold."""

from nubila.tiles.statistics import Tally, count_labels, tally_samples, tally_store
from nubila.tiles.store import Tile, TileStore, is_store, open_store
from nubila.tiles.weights import CLASS_WEIGHT_RULES, class_counts, class_weights, pos_weight
from nubila.tiles.write import write_store

__all__ = [
    "CLASS_WEIGHT_RULES",
    "Tally",
    "Tile",
    "TileStore",
    "class_counts",
    "class_weights",
    "count_labels",
    "is_store",
    "open_store",
    "pos_weight",
    "tally_samples",
    "tally_store",
    "write_store",
]
