"""Scenes: same seed, same pixels; truth that follows from the physics."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nubila.classes import ClassCode
from nubila.errors import BandError, InputError
from nubila.raster.grid import Window
from nubila.synth import SyntheticScene, make_scene, random_chip
from nubila.synth.biomes import BIOMES, PRESETS, SKIES
from nubila.synth.clouds import layer_thickness, shadow_thickness
from nubila.synth.describe import describe_scene
from nubila.synth.instrument import SENSOR_BANDS, saturation_limit
from nubila.synth.noise import Axes
from nubila.synth.scene import (
    CLOUD_THICKNESS,
    SHADOW_TRANSMISSION,
    THIN_THICKNESS,
    render,
)
from nubila.synth.spectra import SPECTRAL_BANDS, material_index

SMALL = ("blue", "green", "red", "nir", "swir16")


def band(scene: SyntheticScene, name: str) -> np.ndarray:
    return scene.reflectance[scene.bands.index(name)]


def share(preset: str, *codes: ClassCode, seeds: int = 6) -> float:
    """Mean share of classes over scenes of a preset."""
    scenes = [make_scene((60, 60), resolution=60, seed=s, preset=preset, bands=["red"])
              for s in range(seeds)]  # fmt: skip
    return float(np.mean([np.isin(s.truth, codes) for s in scenes]))


def test_same_seed_same_scene() -> None:
    first, again = (make_scene((70, 50), seed=11, preset="mixed") for _ in range(2))
    np.testing.assert_array_equal(first.reflectance, again.reflectance)
    np.testing.assert_array_equal(first.truth, again.truth)
    other = make_scene((70, 50), seed=12, preset="mixed")
    assert not np.array_equal(first.reflectance, other.reflectance)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    row=st.integers(0, 60),
    column=st.integers(0, 50),
    height=st.integers(1, 30),
    width=st.integers(1, 40),
)
def test_window_has_the_pixels_of_the_whole(
    seed: int, row: int, column: int, height: int, width: int
) -> None:
    arguments = {"resolution": 30.0, "seed": seed, "bands": SMALL, "swath": True}
    whole = make_scene((90, 90), **arguments)
    window = Window(row, column, height, width)
    part = make_scene((90, 90), window=window, **arguments)
    np.testing.assert_array_equal(part.reflectance, whole.reflectance[:, *window.slices])
    np.testing.assert_array_equal(part.truth, whole.truth[window.slices])
    np.testing.assert_array_equal(part.saturated, whole.saturated[:, *window.slices])


def test_bands_do_not_depend_on_the_bands_asked_for() -> None:
    all_bands = make_scene((40, 40), seed=3)
    some = make_scene((40, 40), seed=3, bands=["swir16", "blue"])
    assert some.bands == ("swir16", "blue")
    np.testing.assert_array_equal(some.reflectance[1], band(all_bands, "blue"))


@pytest.mark.parametrize("sensor", SENSOR_BANDS)
def test_every_sensor_and_level(sensor: str) -> None:
    for level in ("L1C", "L2A"):
        scene = make_scene((20, 24), seed=2, sensor=sensor, level=level)
        assert scene.reflectance.shape == (len(scene.bands), 20, 24)
        assert scene.reflectance.dtype == np.float32 and np.isfinite(scene.reflectance).all()
        assert ("cirrus" in scene.bands) == (level == "L1C" and "cirrus" in SENSOR_BANDS[sensor])


@pytest.mark.parametrize("biome", BIOMES)
def test_every_biome_names_known_materials_and_can_be_made(biome: str) -> None:
    kind = BIOMES[biome]
    for name in (*kind.cover, *kind.crops, *kind.waters, kind.soil):
        material_index(name)
    scene = make_scene((40, 40), resolution=60, seed=1, biome=biome, sky="clear", bands=SMALL)
    assert scene.reflectance.min() > -0.01 and scene.reflectance.max() < 2


@pytest.mark.parametrize("sky", SKIES)
def test_truth_follows_from_thickness_and_direct_light(sky: str) -> None:
    scene = make_scene((64, 64), resolution=60, seed=5, sky=sky, bands=["red"])
    thickness, truth = scene.optical_thickness, scene.truth
    thin = (thickness >= THIN_THICKNESS) & (thickness < CLOUD_THICKNESS)
    shadow = (thickness < THIN_THICKNESS) & (scene.direct_transmission < SHADOW_TRANSMISSION)
    np.testing.assert_array_equal(truth == ClassCode.CLOUD, thickness >= CLOUD_THICKNESS)
    np.testing.assert_array_equal(truth == ClassCode.THIN_CLOUD, thin)
    np.testing.assert_array_equal(truth == ClassCode.CLOUD_SHADOW, shadow)
    if sky == "clear":
        assert not (thickness.any() or shadow.any())


def test_truth_under_clouds_is_that_of_the_clear_scene() -> None:
    description = describe_scene((6000, 6000), seed=4, preset="snow", sky="cumulus")
    window = Window(0, 0, 100, 100)
    cloudy = render(description, window, resolution=60, bands=["red"])
    clear = render(replace(description, layers=()), window, resolution=60, bands=["red"])
    assert set(np.unique(clear.truth)) <= {0, 4, 5}
    open_sky = ~np.isin(cloudy.truth, (1, 2, 3))
    np.testing.assert_array_equal(cloudy.truth[open_sky], clear.truth[open_sky])


def test_class_shares_respond_to_presets() -> None:
    clouds = ClassCode.CLOUD, ClassCode.THIN_CLOUD
    assert share("clear", *clouds, ClassCode.CLOUD_SHADOW) == 0
    assert share("overcast", *clouds) > 0.8
    assert share("snow", ClassCode.SNOW) > 0.15 > share("desert", ClassCode.SNOW)
    assert share("ocean", ClassCode.WATER) + share("ocean", *clouds, ClassCode.CLOUD_SHADOW) > 0.9
    assert share("coast", ClassCode.WATER) > share("city", ClassCode.WATER)
    assert share("cirrus", ClassCode.THIN_CLOUD) > share("cirrus", ClassCode.CLOUD)


def test_storms_are_thick_and_as_dark_as_snow_beyond_the_near_infrared() -> None:
    thick, icy = 0.0, 0
    for seed in range(8):
        scene = make_scene((64, 64), resolution=60, seed=seed, preset="storm", level="L1C")
        cloud = scene.truth == ClassCode.CLOUD
        green, dark = (scene.reflectance[scene.bands.index(b)][cloud] for b in ("green", "swir16"))
        thick += cloud.mean() / 8
        icy += bool(np.median((green - dark) / (green + dark)) > 0.5)  # snow from 0.4 on
    assert thick > 0.6
    assert icy >= 3


def test_thin_stratus_is_thin_and_low_clouds_of_it_do_not_show_in_the_cirrus_band() -> None:
    def seen(preset: str, highest: float) -> list[float]:
        """Return medians of the cirrus band where cloud is thin, of scenes with clouds so high."""
        found = []
        for seed in range(12):
            scene = make_scene((64, 64), resolution=60, seed=seed, preset=preset, level="L1C")
            thin = scene.truth == ClassCode.THIN_CLOUD
            if thin.any() and max(n.base for n in scene.description.layers) < highest:
                found.append(float(np.median(scene.reflectance[scene.bands.index("cirrus")][thin])))
        return found

    low, cirrus = seen("thin stratus", 2000), seen("cirrus", 20000)
    assert len(low) > 3
    assert max(low) < min(0.008, np.median(cirrus) / 3)
    thin = share("thin stratus", ClassCode.THIN_CLOUD)
    assert thin > max(0.2, 2 * share("thin stratus", ClassCode.CLOUD))


def test_every_preset_draws_what_it_names() -> None:
    for preset in PRESETS.values():
        assert set(preset.biomes) <= set(BIOMES) and set(preset.skies) <= set(SKIES)


def clear_scene(biome: str, **changes: object) -> SyntheticScene:
    return make_scene((80, 80), resolution=30, seed=7, biome=biome, sky="clear",
                      sun=(50.0, 150.0), **changes)  # fmt: skip


def test_snow_vegetation_and_water_look_as_they_should() -> None:
    snow = clear_scene("ice sheet")
    green, infrared = band(snow, "green"), band(snow, "swir16")
    ndsi = ((green - infrared) / (green + infrared))[snow.truth == ClassCode.SNOW]
    assert np.median(ndsi) > 0.6
    forest = clear_scene("tropical", level="L2A")
    red, nir = band(forest, "red"), band(forest, "nir")
    ndvi = ((nir - red) / (nir + red))[forest.truth == ClassCode.CLEAR]
    assert np.percentile(ndvi, 80) > 0.6
    sea = clear_scene("ocean")
    water = sea.truth == ClassCode.WATER
    assert np.median(band(sea, "swir16")[water]) < 0.06 < np.median(band(sea, "blue")[water])


def test_surface_level_removes_the_air_from_clear_ground() -> None:
    toa, ground = clear_scene("temperate"), clear_scene("temperate", level="L2A")
    assert np.median(band(toa, "coastal")) > np.median(band(ground, "coastal")) + 0.05
    assert np.median(band(toa, "nir08")) == pytest.approx(
        np.median(band(ground, "nir08")), abs=0.03
    )


@pytest.mark.parametrize("seed", range(3))
def test_cirrus_band_sees_cirrus_and_neither_ground_nor_low_cloud(seed: int) -> None:
    value = {}
    for sky in ("clear", "cumulus", "cirrus"):
        scene = make_scene((60, 60), resolution=60, seed=seed, biome="temperate", sky=sky,
                           bands=["cirrus"])  # fmt: skip
        cloudy = np.isin(scene.truth, (1, 2))
        value[sky] = float(np.median(scene.reflectance[0][cloudy if cloudy.any() else ~cloudy]))
    assert value["clear"] < 0.002
    assert value["cumulus"] < 0.01
    assert value["cirrus"] > 3 * value["cumulus"] and value["cirrus"] > 0.02


def test_shadow_is_darker_than_the_same_ground_without_clouds() -> None:
    description = describe_scene((6000, 6000), seed=2, biome="savanna", sky="broken",
                                 sun=(45.0, 150.0))  # fmt: skip
    window = Window(0, 0, 200, 200)
    cloudy = render(description, window, resolution=30, bands=["blue", "nir"])
    clear = render(replace(description, layers=()), window, resolution=30, bands=["blue", "nir"])
    shadow = (cloudy.truth == ClassCode.CLOUD_SHADOW) & (cloudy.optical_thickness == 0)
    assert shadow.sum() > 100
    ratio = cloudy.reflectance[:, shadow] / clear.reflectance[:, shadow]
    assert (ratio < 1).mean() > 0.99
    blue, nir = np.median(ratio, axis=1)
    assert nir < blue  # the sky lights shadows, and the sky is blue


@pytest.mark.parametrize("azimuth", [0.0, 90.0, 135.0, 180.0, 270.0])
def test_shadow_lies_opposite_to_the_sun(azimuth: float) -> None:
    """Shift the cloud field by height / tan(elevation), away from the sun, by whole pixels."""
    sky = describe_scene((20_000, 20_000), seed=3, sky="cumulus").layers[0]
    layer = replace(sky, base=1200.0, depth=0.0)
    axes = Axes.of_window(0, 0, 200, 200, 20.0)
    elevation = 45.0
    pixels = 1200.0 / math.tan(math.radians(elevation)) / 20.0
    north, east = math.cos(math.radians(azimuth)), math.sin(math.radians(azimuth))
    rows, columns = round(pixels * north), round(-pixels * east)  # southwards, eastwards
    moved = np.roll(layer_thickness(layer, axes), (rows, columns), axis=(0, 1))
    cast = shadow_thickness(layer, axes, (elevation, azimuth))
    inner = np.s_[65:-65, 65:-65]
    assert cast[inner].any()
    assert np.corrcoef(moved[inner].ravel(), cast[inner].ravel())[0, 1] > 0.97


def test_slopes_towards_the_sun_are_brighter() -> None:
    east_sun = make_scene((60, 60), resolution=30, seed=9, biome="alpine", sky="clear",
                          sun=(30.0, 90.0), bands=["nir"])  # fmt: skip
    west_sun = make_scene((60, 60), resolution=30, seed=9, biome="alpine", sky="clear",
                          sun=(30.0, 270.0), bands=["nir"])  # fmt: skip
    lit_east, lit_west = east_sun.reflectance.ravel(), west_sun.reflectance.ravel()
    assert np.corrcoef(lit_east, lit_west)[0, 1] < 0.5
    assert np.median(lit_east) == pytest.approx(np.median(lit_west), rel=0.4)


def test_saturation_stops_at_the_sensors_limit() -> None:
    scene = make_scene((80, 80), resolution=60, seed=1, sensor="landsat-tm", preset="overcast")
    assert scene.saturated.any()
    for number, name in enumerate(scene.bands):
        limit = saturation_limit("landsat-tm", name, scene.sun[0])
        assert scene.reflectance[number].max() <= limit * (1 + 1e-6)
        np.testing.assert_array_equal(
            scene.saturated[number], scene.reflectance[number] >= np.float32(limit)
        )


def test_outside_the_swath_there_is_no_data() -> None:
    scene = make_scene((80, 80), resolution=60, seed=1, swath=True)
    empty = scene.truth == ClassCode.NO_DATA
    assert 0.05 < empty.mean() < 0.6
    np.testing.assert_array_equal(np.isnan(scene.reflectance), np.broadcast_to(empty, (13, 80, 80)))
    assert empty[0, -1] and not empty[:, 0].any()


def test_scene_is_the_same_at_any_resolution() -> None:
    fine = make_scene((240, 240), resolution=10, seed=6, sky="broken", bands=SMALL)
    coarse = make_scene((40, 40), resolution=60, seed=6, sky="broken", bands=SMALL)
    means = fine.reflectance[0].reshape(40, 6, 40, 6).mean(axis=(1, 3))
    assert np.corrcoef(means.ravel(), coarse.reflectance[0].ravel())[0, 1] > 0.9


def test_random_chips_vary_and_repeat() -> None:
    generator = np.random.default_rng(5)
    chips = [random_chip(generator, (48, 48), bands=SMALL) for _ in range(25)]
    cover = [float(np.isin(t, (1, 2)).mean()) for _, t in chips]
    assert min(cover) < 0.05 and max(cover) > 0.95
    assert {0, 1, 2, 3} <= set(np.unique([t for _, t in chips]))
    again = random_chip(np.random.default_rng(5), (48, 48), bands=SMALL)
    np.testing.assert_array_equal(chips[0][0], again[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "snwo"}, "did you mean 'snow'"),
        ({"biome": "dessert"}, "did you mean 'desert'"),
        ({"sky": "cirus"}, "did you mean 'cirrus'"),
        ({"sensor": "sentinel-2"}, "sentinel-2-msi"),
        ({"level": "L1A"}, "L1C, L2A"),
    ],
)
def test_unknown_names_suggest_the_nearest(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_scene((8, 8), **arguments)


def test_bands_that_a_sensor_has_not_are_refused() -> None:
    with pytest.raises(BandError, match="cirrus"):
        make_scene((8, 8), level="L2A", bands=["cirrus"])
    assert set(SENSOR_BANDS["sentinel-2-msi"]) == set(SPECTRAL_BANDS)
