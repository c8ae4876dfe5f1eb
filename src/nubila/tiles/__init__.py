"""The tile store: labelled images cut once, read many times."""

from nubila.tiles.store import Tile, TileStore, is_store, open_store
from nubila.tiles.write import write_store

__all__ = ["Tile", "TileStore", "is_store", "open_store", "write_store"]
