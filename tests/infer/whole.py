"""A scene run whole, without the engine: what tiles must add up to."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime

from nubila.infer.needs import source_key
from nubila.raster import Window


@cache
def session(path):
    """A session of ONNX Runtime as anyone would make it, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def whole_scene(scene, model, resolution=None):
    """Return probabilities (classes, rows, columns), NaN where a required band has no data."""
    names = [use.name for use in model.card.bands]
    grid = scene.grid_at(resolution or scene.default_resolution)
    rows, columns = grid.shape
    stride = model.card.stride
    padded = np.full(
        (1, len(names), -(-rows // stride) * stride, -(-columns // stride) * stride),
        np.nan,
        np.float32,
    )
    there = [name for name in names if scene.has_band(name)]
    pixels = scene.read(there, Window(0, 0, rows, columns), grid.resolution)
    for name, reflectance in zip(there, pixels.reflectance, strict=True):
        padded[0, names.index(name), :rows, :columns] = reflectance
    (found,) = session(model.path).run(["probabilities"], {"reflectance": padded})
    found = found[0, :, :rows, :columns]
    needed = [n for n, use in enumerate(model.card.bands) if use.required]
    found[:, np.isnan(padded[0, needed, :rows, :columns]).any(axis=0)] = np.nan
    return found


def classes_of(probabilities, card):
    """Return the most probable class, the first of equals, 255 where there is no number."""
    missing = np.isnan(probabilities).any(axis=0)
    best = np.argmax(np.where(missing, 0, probabilities), axis=0)
    return np.where(missing, 255, np.array(card.class_codes)[best]).astype(np.uint8)


class Collected:
    """A sink that puts strips together, and holds them to come without gaps."""

    def __init__(self):
        self.strips = []

    def __call__(self, strip):
        assert strip.row == self.rows
        self.strips.append(strip)

    @property
    def rows(self):
        return sum(len(strip.classes) for strip in self.strips)

    @property
    def classes(self):
        return np.concatenate([s.classes for s in self.strips])

    @property
    def validity(self):
        return np.concatenate([s.validity for s in self.strips])

    @property
    def probabilities(self):
        return np.concatenate([s.probabilities for s in self.strips], axis=1)


class Watched:
    """A source in blocks of such a shape that notes what is read of it."""

    def __init__(self, source, log, block=None):
        self._source, self._log = source, log
        self.name, self.shape, self.factors = source.name, source.shape, source.factors
        self.block = source.block if block is None else block

    def read(self, factor, window):
        self._log.append((self.name, factor, window))  # atomic: any thread may read
        return self._source.read(factor, window)


def watched(scene, block=None):
    """Return a scene, in blocks of such a shape, and the list that reading it appends to.

    The list holds (file, factor, window).
    """
    log = []
    wrapped = {}

    def wrap(source):
        return wrapped.setdefault(source_key(source), Watched(source, log, block))

    return scene.map_sources(wrap), log
