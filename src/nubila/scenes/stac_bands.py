"""The bands that a STAC item's assets hold, in the words of STAC 1.0 or 1.1.

STAC 1.0 has lists ``eo:bands`` and ``raster:bands`` side by side, STAC 1.1 one list ``bands`` with
``eo:`` and ``raster:`` fields, which asset and item may also hold for all their bands
(https://github.com/radiantearth/stac-spec, commons/common-metadata.md, section Bands).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nubila.bands import band_name, label_names, plain_label
from nubila.errors import BandError, MetadataError

__all__ = ["Layer", "find_layers", "number", "same_number", "sensor_of"]

Json = Mapping[str, Any]

_PICTURES: Final = ("visual", "thumbnail", "overview", "metadata")
_PICTURE_KEYS: Final = ("visual", "thumbnail", "preview", "overview", "rendered", "tci")
# Thermal bands are no reflectance; Landsat's panchromatic pixels lie half a pixel off the others'.
_LEFT_OUT: Final = ("lwir11", "lwir12", "pan")


@dataclass(frozen=True)
class Layer:
    """One band of one asset.

    Attributes:
        item: what errors call the item.
        key: the asset's key.
        asset: the asset.
        index: band number in the file, from 1.
        name: common name.
        label: what the item calls the band.
        scale, offset, nodata: as stated by band, asset or item, or None.
    """

    item: str
    key: str
    asset: Json
    index: int
    name: str
    label: str
    scale: float | None
    offset: float | None
    nodata: float | None

    @property
    def where(self) -> str:
        """What errors call the band."""
        return f"{self.item}, asset {self.key!r}"

    @property
    def is_jp2(self) -> bool:
        """Whether the asset is a JPEG 2000 file, as the space agency made it."""
        path = str(self.asset["href"]).partition("?")[0]
        return "jp2" in str(self.asset.get("type", "")) or path.lower().endswith(".jp2")


def sensor_of(properties: Json) -> str:
    """Return the key of `nubila.bands.SENSORS` that an item's properties tell of."""
    parts = [properties.get(key, "") for key in ("platform", "constellation", "mission")]
    text = " ".join(str(part) for part in parts).lower().replace("_", "-")
    held = properties.get("instruments") or ()
    instruments = {str(name).lower() for name in ([held] if isinstance(held, str) else held)}
    if "sentinel-2" in text:
        return "sentinel-2-msi"
    if "landsat" not in text:
        return "unknown"
    for instrument, sensor in (("oli", "oli"), ("etm", "etm+"), ("etm+", "etm+"), ("tm", "tm")):
        if instrument in instruments:
            return f"landsat-{sensor}"
    return "unknown"


def find_layers(item: Json, name: str) -> list[Layer]:
    """Return the reflective bands of all assets that hold data, pictures left out.

    Args:
        item: the STAC item.
        name: what errors call it.

    Raises:
        MetadataError: two fields of a band contradict each other, or are of a STAC before 1.0.
    """
    properties = item["properties"]
    sensor = sensor_of(properties)
    assets = {key: asset for key, asset in item["assets"].items() if _is_data(key, asset)}
    files = [str(asset["href"]).partition("?")[0] for asset in assets.values()]
    labels = label_names(_labels(assets, name), sensor, files)
    return [
        layer
        for key, asset in assets.items()
        for layer in _asset_layers(key, asset, properties, _Words(sensor, labels), name)
        if layer.name not in _LEFT_OUT
    ]


@dataclass(frozen=True)
class _Words:
    """What an item's labels mean: a key of `nubila.bands.SENSORS`, and names by plain label."""

    sensor: str
    labels: Mapping[str, str]

    def name(self, text: object) -> str | None:
        """Return the common name that a text means, or None."""
        if label := _label(text):
            return self.labels.get(label)
        try:
            return band_name(str(text))
        except BandError:
            return None


def _label(text: object) -> str:
    """Return the plain label in a text or ``""``; some have an asset a resolution (``B02_10m``)."""
    return plain_label(str(text).partition("_")[0])


def _labels(assets: Mapping[str, Json], item: str) -> Iterator[str]:
    """Give everything in an item that may be a label."""
    for key, asset in assets.items():
        yield key.partition("_")[0]
        for new, optical, _ in _described(asset, f"{item}, asset {key!r}"):
            yield str({**optical, **new}.get("name", "")).partition("_")[0]


def _is_data(key: str, asset: Json) -> bool:
    kind = str(asset.get("type") or "image/tiff").lower()
    return (
        not set(asset.get("roles") or ()) & set(_PICTURES)
        and not key.lower().startswith(_PICTURE_KEYS)
        and kind.startswith(("image/", "application/x-"))
        and not kind.startswith(("image/jpeg", "image/png", "image/webp"))
    )


def _asset_layers(
    key: str, asset: Json, properties: Json, words: _Words, item: str
) -> Iterator[Layer]:
    where = f"{item}, asset {key!r}"
    described = _described(asset, where)
    for index, (new, optical, raster) in enumerate(described):
        alone = len(described) == 1
        names = {**optical, **new} or ({"name": key, **asset} if alone else {})
        common = _common_name(names, key if alone else "", words, where)
        if common is None:
            continue
        fields = (raster, new, asset, properties)
        yield Layer(
            item=item,
            key=key,
            asset=asset,
            index=index + 1,
            name=common,
            label=str(names.get("name") or key),
            scale=_stated("scale", *fields, where=where),
            offset=_stated("offset", *fields, where=where),
            nodata=_stated("nodata", *fields, where=where),
        )


def _described(asset: Json, where: str) -> list[tuple[Json, Json, Json]]:
    """Return for each band what ``bands``, ``eo:bands`` and ``raster:bands`` say of it."""
    lists = [asset.get(field) or [] for field in ("bands", "eo:bands", "raster:bands")]
    if not all(isinstance(entries, list | tuple) for entries in lists):
        raise MetadataError(f"{where}: bands, eo:bands and raster:bands must be lists")
    for entry in (entry for entries in lists for entry in entries):
        if not isinstance(entry, Mapping):
            raise MetadataError(
                f"{where}: band {entry!r} is no object; STAC before 1.0 is not read"
            )
    # Without a list that names bands, the asset itself is the band.
    count = max(len(lists[0]), len(lists[1])) or 1
    if any(entries and len(entries) != count for entries in lists):
        raise MetadataError(f"{where}: bands, eo:bands and raster:bands differ in length")
    new, optical, raster = (entries or [{}] * count for entries in lists)
    return list(zip(new, optical, raster, strict=True))


def _common_name(names: Json, key: str, words: _Words, where: str) -> str | None:
    """Return the common name of a band, or None for what is no band that nubila knows.

    The band's own name comes first, for STAC calls Sentinel-2's B05, B06 and B07 all ``rededge``.
    """
    own, common = names.get("name"), names.get("eo:common_name") or names.get("common_name")
    by_name, by_common, by_key = (words.name(t) if t else None for t in (own, common, key))
    if by_name and by_common and not _agree(own, by_name, by_common):
        if words.sensor == "unknown" and _label(own):
            return by_common  # the label is of a sensor that was only inferred
        raise MetadataError(
            f"{where}: the band's name is {own!r} ({by_name}), but its common name {common!r}"
        )
    return by_name or by_common or by_key


def _agree(own: object, by_name: str, by_common: str) -> bool:
    """Tell whether two names are of one band; Sentinel-2's B8A goes by nir, nir08 and rededge."""
    families = {_family(by_name), _family(by_common)}
    return len(families) == 1 or (_label(own) == "B8A" and families == {"nir", "rededge"})


def _family(name: str) -> str:
    """Return what near infrareds have in common, and red edges; each goes by its plain name too."""
    return next((family for family in ("nir", "rededge") if name.startswith(family)), name)


def _stated(
    field: str, raster: Json, new: Json, asset: Json, properties: Json, *, where: str
) -> float | None:
    """Return a number by band, asset or item; `raster:bands` and `bands` must agree."""
    prefixed = field if field == "nodata" else f"raster:{field}"
    old = number(raster.get(field), f"{where}: {field}")
    present = number(new.get(prefixed), f"{where}: {prefixed}")
    if old is not None and present is not None and not same_number(old, present):
        raise MetadataError(
            f"{where}: raster:bands says {field} {old:g}, but bands says {present:g}"
        )
    for value in (old, present, asset.get(prefixed), properties.get(prefixed)):
        if (stated := number(value, f"{where}: {prefixed}")) is not None:
            return stated
    return None


def same_number(one: float, two: float) -> bool:
    """Tell whether two numbers are the same but for rounding; NaN is NaN."""
    return math.isclose(one, two, rel_tol=1e-6) or (math.isnan(one) and math.isnan(two))


def number(value: object, what: str) -> float | None:
    """Return a number that may be missing, or be a text such as ``"nan"``.

    Raises:
        MetadataError: it is something else.
    """
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise TypeError("a truth value is no number")
        return float(value)  # type: ignore[arg-type]  # anything from JSON; refused below
    except (TypeError, ValueError) as error:
        raise MetadataError(f"{what} is {value!r}, expected a number") from error
