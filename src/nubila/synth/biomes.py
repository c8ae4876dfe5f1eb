"""What kinds of ground and sky there are, and which preset draws which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["BIOMES", "PRESETS", "SKIES", "Biome", "Preset"]


@dataclass(frozen=True)
class Biome:
    """A kind of landscape; pairs are the least and greatest value drawn for a scene.

    Attributes:
        cover: materials that take turns over natural ground: the common one, the one in patches,
            and the one on dry or steep places.
        crops: materials of parcels.
        soil: material between crops and of bare parcels.
        farmland: share of the land under parcels.
        parcel: width of parcels in metres.
        city: share of the land that is built over.
        relief: standard deviation of elevation in metres.
        rugged: 0 for rolling ground, 1 for ridges.
        water: share of the scene that is lake or sea.
        waters: materials of open water, and of turbid or shallow water.
        river: chance of a river.
        vapour: column in centimetres.
        aerosol: optical thickness at 550 nm.
        snow: chance that snow lies.
        ground: elevation above the sea in kilometres.
        dunes: height of dunes in metres, 0 for none.
    """

    name: str
    cover: tuple[str, str, str]
    crops: tuple[str, ...]
    soil: str
    farmland: tuple[float, float]
    parcel: tuple[float, float]
    city: tuple[float, float]
    relief: tuple[float, float]
    rugged: tuple[float, float]
    water: tuple[float, float]
    waters: tuple[str, str]
    river: float
    vapour: tuple[float, float]
    aerosol: tuple[float, float]
    snow: float
    ground: tuple[float, float]
    dunes: float = 0.0


_LAKES = ("brown lake", "silty water")
_SEA = ("clear sea", "shallow sand bed")
_NORTHERN_CROPS = (
    "dense crop", "young crop", "ripe cereal", "green grass", "rape in flower", "brown soil",
    "dark soil", "green grass", "ripe cereal", "dense crop",
)  # fmt: skip
_DRY_CROPS = (
    "ripe cereal", "bright soil", "brown soil", "dry grass", "young crop", "dense crop", "red soil",
    "ripe cereal",
)  # fmt: skip

BIOMES: Final[dict[str, Biome]] = {
    b.name: b
    for b in (
        Biome("temperate", ("green grass", "broadleaf forest", "dry grass"), _NORTHERN_CROPS,
              "brown soil", (0.3, 0.9), (80, 350), (0.0, 0.12), (10, 80), (0.0, 0.3),
              (0.0, 0.08), _LAKES, 0.5, (0.8, 3.0), (0.05, 0.3), 0.1, (0.0, 0.5)),
        Biome("boreal", ("conifer forest", "peat bog", "broadleaf forest"), _NORTHERN_CROPS,
              "dark soil", (0.0, 0.15), (60, 200), (0.0, 0.02), (15, 90), (0.0, 0.3),
              (0.02, 0.25), _LAKES, 0.4, (0.4, 2.0), (0.03, 0.12), 0.4, (0.0, 0.5)),
        Biome("tropical", ("tropical forest", "green grass", "red soil"),
              ("tropical forest", "green grass", "red soil", "dense crop", "dry grass"),
              "red soil", (0.0, 0.4), (100, 600), (0.0, 0.04), (8, 120), (0.0, 0.5),
              (0.0, 0.06), ("brown lake", "silty water"), 0.6, (3.0, 5.5),
              (0.1, 0.45), 0.0, (0.0, 0.6)),
        Biome("paddies", ("green grass", "broadleaf forest", "dark soil"),
              ("rice paddy", "rice paddy", "dense crop", "young crop", "green grass", "wet mud"),
              "dark soil", (0.5, 0.9), (40, 150), (0.02, 0.2), (3, 40), (0.0, 0.4),
              (0.02, 0.12), ("silty water", "algal water"), 0.7, (2.0, 5.5),
              (0.2, 0.7), 0.0, (0.0, 0.2)),
        Biome("savanna", ("dry grass", "shrub", "red soil"), _DRY_CROPS, "red soil", (0.0, 0.5),
              (60, 400), (0.0, 0.03), (10, 100), (0.0, 0.5), (0.0, 0.03), _LAKES, 0.4,
              (1.0, 4.0), (0.1, 0.4), 0.0, (0.2, 1.5)),
        Biome("mediterranean", ("shrub", "dry grass", "limestone"), _DRY_CROPS, "bright soil",
              (0.2, 0.7), (50, 250), (0.0, 0.1), (40, 220), (0.3, 0.9), (0.0, 0.05), _SEA, 0.3,
              (0.8, 2.5), (0.06, 0.3), 0.02, (0.0, 0.8)),
        Biome("steppe", ("dry grass", "brown soil", "grey rock"), _DRY_CROPS, "brown soil",
              (0.1, 0.9), (300, 900), (0.0, 0.03), (5, 60), (0.0, 0.4), (0.0, 0.04), _LAKES, 0.3,
              (0.4, 1.8), (0.05, 0.25), 0.2, (0.1, 1.2)),
        Biome("desert", ("desert gravel", "yellow sand", "dark rock"),
              ("dense crop", "young crop", "bright soil", "desert gravel"), "bright soil",
              (0.0, 0.08), (200, 800), (0.0, 0.01), (15, 150), (0.2, 1.0), (0.0, 0.01),
              ("brown lake", "silty water"), 0.1, (0.4, 2.0), (0.08, 0.5), 0.0,
              (0.1, 1.2)),
        Biome("dunes", ("orange sand", "yellow sand", "desert gravel"), ("dense crop",),
              "yellow sand", (0.0, 0.01), (200, 800), (0.0, 0.0), (20, 60), (0.0, 0.2),
              (0.0, 0.0), ("brown lake", "silty water"), 0.0, (0.4, 2.0), (0.1, 0.6),
              0.0, (0.1, 0.8), dunes=18.0),
        Biome("salt flat", ("salt", "white sand", "desert gravel"), ("bright soil",),
              "bright soil", (0.0, 0.02), (200, 800), (0.0, 0.01), (2, 20), (0.0, 0.3),
              (0.0, 0.1), ("silty water", "shallow sand bed"), 0.1, (0.3, 1.5),
              (0.05, 0.3), 0.0, (0.3, 3.7)),
        Biome("alpine", ("green grass", "conifer forest", "grey rock"), _NORTHERN_CROPS,
              "brown soil", (0.0, 0.1), (40, 150), (0.0, 0.03), (350, 800), (0.85, 1.0),
              (0.0, 0.05), ("brown lake", "silty water"), 0.4, (0.2, 1.5),
              (0.02, 0.1), 0.85, (0.5, 2.0)),
        Biome("tundra", ("tundra", "peat bog", "grey rock"), ("tundra",), "dark soil",
              (0.0, 0.0), (200, 800), (0.0, 0.0), (20, 250), (0.1, 0.9), (0.02, 0.3),
              ("clear sea", "silty water"), 0.5, (0.2, 1.2), (0.02, 0.08), 0.7,
              (0.0, 0.6)),
        Biome("ice sheet", ("dark rock", "grey rock", "grey rock"), ("tundra",), "dark soil",
              (0.0, 0.0), (200, 800), (0.0, 0.0), (40, 400), (0.1, 0.9), (0.0, 0.35),
              ("clear sea", "silty water"), 0.0, (0.05, 0.5), (0.01, 0.05), 1.0,
              (0.0, 2.5)),
        Biome("city", ("green grass", "broadleaf forest", "brown soil"), _NORTHERN_CROPS,
              "brown soil", (0.3, 0.7), (60, 300), (0.35, 0.85), (5, 50), (0.0, 0.4),
              (0.0, 0.1), ("coastal water", "silty water"), 0.7, (0.8, 4.0),
              (0.1, 0.6), 0.05, (0.0, 0.4)),
        Biome("coast", ("shrub", "dry grass", "yellow sand"), _DRY_CROPS, "brown soil",
              (0.1, 0.6), (60, 250), (0.02, 0.15), (20, 180), (0.1, 0.8), (0.3, 0.75), _SEA, 0.2,
              (0.8, 4.0), (0.05, 0.3), 0.03, (0.0, 0.0)),
        Biome("green coast", ("broadleaf forest", "green grass", "wet mud"), _NORTHERN_CROPS,
              "dark soil", (0.1, 0.6), (60, 250), (0.02, 0.15), (10, 120), (0.1, 0.8),
              (0.25, 0.75), ("coastal water", "silty water"), 0.5, (0.8, 4.5),
              (0.05, 0.3), 0.08, (0.0, 0.0)),
        Biome("ocean", ("shrub", "yellow sand", "dark rock"), _DRY_CROPS, "brown soil",
              (0.0, 0.1), (60, 250), (0.0, 0.05), (20, 150), (0.1, 0.8), (0.985, 1.0), _SEA, 0.0,
              (0.8, 5.0), (0.03, 0.25), 0.0, (0.0, 0.0)),
    )
}  # fmt: skip

# Kinds of sky, see `nubila.synth.clouds.draw_sky`.
SKIES: Final = (
    "clear",
    "cumulus",
    "broken",
    "stratocumulus",
    "overcast",
    "cirrus",
    "cumulus and cirrus",
    "altocumulus",
    "fog",
    "storm",
    "thin stratus",
)


@dataclass(frozen=True)
class Preset:
    """Biomes and skies to draw from, each with a weight, and the least share that snow covers."""

    biomes: dict[str, float]
    skies: dict[str, float]
    snow: float = 0.0


_EVERY_BIOME: Final = {
    "temperate": 3.0, "boreal": 1.5, "tropical": 2.0, "paddies": 1.0, "savanna": 1.5,
    "mediterranean": 1.5, "steppe": 1.5, "desert": 1.5, "dunes": 0.7, "salt flat": 0.5,
    "alpine": 2.0, "tundra": 1.2, "ice sheet": 1.0, "city": 1.5, "coast": 1.5,
    "green coast": 1.5, "ocean": 1.2,
}  # fmt: skip
_EVERY_SKY: Final = {
    "clear": 1.2, "cumulus": 3.0, "broken": 2.5, "stratocumulus": 1.2, "overcast": 1.2,
    "cirrus": 1.8, "cumulus and cirrus": 1.5, "altocumulus": 0.8, "fog": 0.5,
}  # fmt: skip
_CLOUDY: Final = {k: v for k, v in _EVERY_SKY.items() if k != "clear"}

PRESETS: Final[dict[str, Preset]] = {
    "mixed": Preset(_EVERY_BIOME, _CLOUDY),
    "snow": Preset(
        {"alpine": 3.0, "boreal": 1.0, "tundra": 1.5, "ice sheet": 1.0, "temperate": 0.5},
        _EVERY_SKY, 0.3,
    ),
    "desert": Preset({"desert": 2.0, "dunes": 1.0, "salt flat": 1.0}, _EVERY_SKY),
    "city": Preset({"city": 1.0}, _EVERY_SKY),
    "coast": Preset({"coast": 1.0, "green coast": 1.0}, _EVERY_SKY),
    "ocean": Preset({"ocean": 1.0}, _CLOUDY),
    "overcast": Preset(_EVERY_BIOME, {"overcast": 1.0}),
    "cirrus": Preset(_EVERY_BIOME, {"cirrus": 1.0}),
    "cumulus": Preset(_EVERY_BIOME, {"cumulus": 1.0}),
    "clear": Preset(_EVERY_BIOME, {"clear": 1.0}),
    "storm": Preset(_EVERY_BIOME, {"storm": 1.0}),
    "thin stratus": Preset(_EVERY_BIOME, {"thin stratus": 1.0}),
}  # fmt: skip
