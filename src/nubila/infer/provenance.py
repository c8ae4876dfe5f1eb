"""Where a mask comes from: scene, bands, model and options, as its files tell it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from nubila._version import __version__
from nubila.infer.area import Area
from nubila.models_io import Model, ModelCard
from nubila.raster.names import VERSION_TAG
from nubila.scenes import Band, Scene

__all__ = ["VERSION_TAG", "BandScaling", "MaskOptions", "Provenance", "provenance_of"]


@dataclass(frozen=True)
class MaskOptions:
    """What a mask is made with, besides scene and model.

    Attributes:
        resolution: metres a pixel; None = the scene's own choice.
        area: area of interest; None = the whole scene.
        operating_point: one of the model's card, which says what the next three are; None = none.
        thresholds: class name -> least probability; see `nubila.infer.decide`. They take the place
            of the operating point's for the same class.
        dilate: metres by which cloud, thin cloud and cloud shadow grow; None = as the operating
            point says, else 0.
        min_area: square metres; smaller objects are filled by what is around them; None = as the
            operating point says, else 0.
        classes: names of the classes to keep, or to mark in a binary mask; empty = all.
        binary: 1 for marked classes, 0 for others.
        codes: another product's codes; a name in `nubila.codes.SCHEMES`.
        probabilities: write the probabilities too.
        validity: write why pixels have no class too.
        picture: write a picture too.
    """

    resolution: float | None = None
    area: Area | None = None
    operating_point: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    dilate: float | None = None
    min_area: float | None = None
    classes: tuple[str, ...] = ()
    binary: bool = False
    codes: str | None = None
    probabilities: bool = False
    validity: bool = False
    picture: bool = True

    def record(self) -> dict[str, Any]:
        """Return what differs from the default, as plain values in a fixed order."""
        default = MaskOptions()
        found: dict[str, Any] = {}
        for name in sorted(self.__dataclass_fields__):
            value = getattr(self, name)
            if value != getattr(default, name):
                found[name] = value.record() if isinstance(value, Area) else value
        # Through JSON, so that tuples and mappings compare equal to what a file gives back.
        plain: dict[str, Any] = json.loads(json.dumps(found, sort_keys=True, default=dict))
        return plain


@dataclass(frozen=True)
class BandScaling:
    """A band that was used, and how its counts became reflectance; `nodata` None = no such count.

    NaN and infinity are never data, so they are not told as `nodata`. `zero_fill` as of a `Band`.
    """

    name: str
    label: str
    scale: float
    offset: float
    nodata: float | None = None
    zero_fill: bool = False

    @classmethod
    def of(cls, band: Band) -> BandScaling:
        """Return what was used of a scene's band."""
        told = band.nodata is not None and math.isfinite(band.nodata)
        nodata = band.nodata if told else None
        return cls(band.name, band.label, band.scale, band.offset, nodata, band.zero_fill)

    def record(self) -> dict[str, Any]:
        """Return plain values; `zero_fill` only where it is so."""
        found = asdict(self)
        if not self.zero_fill:
            del found["zero_fill"]
        return found


@dataclass(frozen=True)
class Provenance:
    """Where a mask comes from.

    Attributes:
        scene_id, path, sensor, platform, level, baseline, acquired, footprint: of the scene.
        bands: those that the model was given.
        card: of the model.
        model_sha256: of the model's file.
        options: what the mask was made with.
        version: of nubila.
        files: of the scene, where it was put together from more than `path`.
    """

    scene_id: str
    path: str
    sensor: str
    platform: str
    level: str
    baseline: str
    acquired: datetime | None
    footprint: Mapping[str, Any] | None
    bands: tuple[BandScaling, ...]
    card: ModelCard
    model_sha256: str
    options: MaskOptions = field(default_factory=MaskOptions)
    version: str = __version__
    files: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Every path or address that the mask was made from."""
        return self.files or (self.path,)

    def tags(self) -> dict[str, str]:
        """Return the tags of a raster file."""
        tags = {
            "TIFFTAG_SOFTWARE": f"nubila {self.version}",
            VERSION_TAG: self.version,
            "NUBILA_MODEL": self.card.name,
            "NUBILA_MODEL_VERSION": self.card.version,
            "NUBILA_MODEL_SHA256": self.model_sha256,
            "NUBILA_SCENE": self.scene_id,
            "NUBILA_INPUT": self.path,
            "NUBILA_OPTIONS": json.dumps(self.options.record(), sort_keys=True),
        }
        if self.acquired is not None:
            tags["NUBILA_ACQUIRED"] = self.acquired.isoformat()
        for band in self.bands:
            tags[f"NUBILA_SCALE_{band.name.upper()}"] = repr(band.scale)
            tags[f"NUBILA_OFFSET_{band.name.upper()}"] = repr(band.offset)
        return tags


def provenance_of(scene: Scene, model: Model, options: MaskOptions) -> Provenance:
    """Return where the mask of a scene comes from."""
    used = [scene.band(b.name) for b in model.card.bands if scene.has_band(b.name)]
    return Provenance(
        scene_id=scene.id,
        path=scene.path,
        sensor=scene.sensor,
        platform=scene.platform,
        level=scene.level,
        baseline=scene.baseline,
        acquired=scene.acquired,
        footprint=scene.footprint,
        bands=tuple(BandScaling.of(band) for band in used),
        card=model.card,
        model_sha256=model.sha256,
        options=options,
        files=scene.files,
    )
