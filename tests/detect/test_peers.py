"""Peers whose weights are not here: their documented API, played by stand-in modules."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nubila.detect import View, open_detector, version_of
from nubila.detect import cloudsen12 as cloudsen12_room
from nubila.errors import BandError, MissingFileError, ModelError

RGBN = ("blue", "green", "red", "nir")


@pytest.fixture
def omnicloudmask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """A package with the table of weights and the function that the real one has."""
    home = tmp_path / "site" / "omnicloudmask"
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("")
    (home / "model_download_links.csv").write_text(
        "version,file_name,timm_model_name\n3.0,old.safetensors,a\n4.0,one.safetensors,a\n"
        "4.0,two.safetensors,b\n"
    )
    monkeypatch.syspath_prepend(str(home.parent))
    monkeypatch.delitem(sys.modules, "omnicloudmask", raising=False)
    import omnicloudmask as module

    def predict_from_array(input_array: np.ndarray, **options: object) -> np.ndarray:
        if min(input_array.shape[1:]) < 32:
            raise ValueError("Input array must have a width and height of 32 pixels or more")
        module.seen = input_array, options
        red = input_array[0]
        return np.stack([1 - red, red, np.zeros_like(red), np.zeros_like(red)])

    module.predict_from_array = predict_from_array
    yield module
    sys.modules.pop("omnicloudmask", None)


def test_omnicloudmask_wants_the_newest_weights(omnicloudmask: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"one\.safetensors, two\.safetensors; no folder"):
        open_detector("omnicloudmask")
    (tmp_path / "one.safetensors").touch()
    with pytest.raises(MissingFileError, match=r"downloads: two\.safetensors; .*--weights"):
        open_detector("omnicloudmask", weights=tmp_path)


def test_omnicloudmask_sees_red_green_nir_and_0_for_no_data(
    omnicloudmask: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.safetensors").touch()
    monkeypatch.setenv("NUBILA_PEER_WEIGHTS", str(tmp_path))
    image = np.stack([np.full((40, 32), value, np.float32) for value in (0.1, 0.2, 0.3, 0.4)])
    image[2, 0] = np.nan
    image[1, 1] = -0.01
    image[2, 4:] = 0.9
    detector = open_detector("omnicloudmask")
    found = detector.detect(View(image, RGBN, resolution=10.0))
    given, options = omnicloudmask.seen
    np.testing.assert_allclose(given[:, 2, 0], [0.3, 0.2, 0.4])
    assert (given[0, 0] == 0).all()
    assert (given[:, 1:] > 0).all(), "0 is no data to the package, so no reflectance may be it"
    assert options["destination_model_dir"] == tmp_path
    assert options["model_version"] == 4.0
    assert options["export_confidence"] is True
    assert (found.classes[0] == 255).all()
    assert set(np.unique(found.classes[1:4])) == {0}
    assert set(np.unique(found.classes[4:])) == {1}
    assert detector.lacks(View(image[:3], RGBN[:3])) == "no nir"
    with pytest.raises(BandError, match="no nir"):
        detector.detect(View(image[:3], RGBN[:3]))
    # Smaller than the package takes, as it is or once it is brought to 10 m.
    assert detector.lacks(View(image[:, :31], RGBN, resolution=10.0)) == "no 32 x 32 pixels"
    assert detector.lacks(View(image, RGBN, resolution=30.0)) == ""
    with pytest.raises(BandError, match="no 32 x 32 pixels"):
        detector.detect(View(image, RGBN, resolution=5.0))
    # Its documentation asks for 10 to 50 m; where nobody knows the resolution it is tried.
    assert detector.lacks(View(image, RGBN, resolution=50.0)) == ""
    assert detector.lacks(View(image, RGBN)) == ""
    assert detector.lacks(View(image, RGBN, resolution=60.0)) == "no resolution of 50 m or finer"
    with pytest.raises(BandError, match="no resolution of 50 m or finer"):
        detector.detect(View(image, RGBN, resolution=60.0))


def test_omnicloudmask_is_told_by_its_weights(omnicloudmask: ModuleType, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"first")
    detector = open_detector("omnicloudmask", weights=tmp_path)
    before = version_of(detector)
    (tmp_path / "old.safetensors").touch()  # which is not asked
    assert version_of(detector) == before
    (tmp_path / "two.safetensors").write_bytes(b"second")
    assert version_of(detector) != before


# Name and file of weights as release 1.0.2 has them; before, L2A's file was named as its network.
CLOUDSEN12 = {
    "UNetMobV2_V2": "UNetMobV2_V2.pt",
    "cloudsen12l2a": "cloudsen12-s2-l2a-1.0.0.pt",
    "landsat30": "landsat30.pt",
    "dtacs4bands": "dtacs4bands.pt",
}


class _Model:
    """Thin cloud where the first band is above a half."""

    def __init__(self, name: str) -> None:
        self.name, self.seen = name, np.empty(0)

    def predict(self, image: np.ndarray) -> np.ndarray:
        self.seen = image
        return np.where(image[0] > 0.5, np.uint8(2), np.uint8(0))


@pytest.fixture
def cloudsen12(monkeypatch: pytest.MonkeyPatch) -> dict[str, _Model]:
    """The models that the stand-in has loaded, by name."""
    loaded: dict[str, _Model] = {}

    def load_model_by_name(name: str, weights_folder: str) -> _Model:
        file = Path(weights_folder) / module.MODELS_CLOUDSEN12[name]["model_file"]
        assert file.is_file(), "it would download"
        return loaded.setdefault(name, _Model(name))

    package, module = ModuleType("cloudsen12_models"), ModuleType("cloudsen12_models.cloudsen12")
    module.load_model_by_name = load_model_by_name
    module.MODELS_CLOUDSEN12 = {name: {"model_file": file} for name, file in CLOUDSEN12.items()}
    monkeypatch.setitem(sys.modules, "cloudsen12_models", package)
    monkeypatch.setitem(sys.modules, "cloudsen12_models.cloudsen12", module)
    cloudsen12_room._model.cache_clear()
    yield loaded
    cloudsen12_room._model.cache_clear()


def _view(bands: tuple[str, ...], level: str, resolution: float = 10.0) -> View:
    image = np.stack([np.full((6, 6), (n + 1) / 20, np.float32) for n in range(len(bands))])
    return View(image, bands, level=level, resolution=resolution, name="v")


MSI = (
    *("coastal", "blue", "green", "red", "rededge071", "rededge075", "rededge078"),
    *("nir", "nir08", "nir09", "cirrus", "swir16", "swir22"),
)
OLI = ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22", "cirrus")


@pytest.mark.parametrize(
    ("bands", "level", "resolution", "network", "first"),
    [
        (MSI, "L1C", 10.0, "UNetMobV2_V2", "coastal"),
        (MSI, "L1C", 30.0, "landsat30", "coastal"),
        (tuple(b for b in MSI if b != "cirrus"), "L2A", 10.0, "cloudsen12l2a", "coastal"),
        (OLI, "L1TP", 30.0, "landsat30", "coastal"),
        (RGBN, "L1C", 10.0, "dtacs4bands", "nir"),
    ],
)
def test_cloudsen12_takes_the_network_that_fits(
    cloudsen12: dict[str, _Model],
    tmp_path: Path,
    bands: tuple[str, ...],
    level: str,
    resolution: float,
    network: str,
    first: str,
) -> None:
    for file in CLOUDSEN12.values():
        (tmp_path / file).touch()
    view = _view(bands, level, resolution)
    view.image[bands.index(first), 3:] = 0.9
    found = open_detector("cloudsen12", weights=tmp_path).detect(view)
    assert list(cloudsen12) == [network]
    assert (found.classes[3:] == 2).all()
    assert (found.classes[:3] == 0).all()
    expected = {"UNetMobV2_V2": 13, "cloudsen12l2a": 12, "landsat30": 8, "dtacs4bands": 4}
    assert len(cloudsen12[network].seen) == expected[network]


def test_cloudsen12_sees_fine_views_at_the_resolution_of_its_network(
    cloudsen12: dict[str, _Model], tmp_path: Path
) -> None:
    (tmp_path / CLOUDSEN12["landsat30"]).touch()
    found = open_detector("cloudsen12", weights=tmp_path).detect(_view(OLI, "L1TP", 10.0))
    assert cloudsen12["landsat30"].seen.shape == (8, 2, 2)
    assert found.classes.shape == (6, 6)


def test_cloudsen12_says_what_it_lacks(cloudsen12: dict[str, _Model], tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"UNetMobV2_V2\.pt, .*dtacs4bands\.pt"):
        open_detector("cloudsen12", weights=tmp_path)
    (tmp_path / "dtacs4bands.pt").touch()
    detector = open_detector("cloudsen12", weights=tmp_path)
    assert detector.lacks(_view(RGBN, "L1C")) == ""
    assert detector.lacks(_view(RGBN[:3], "L1C")) == "no nir"
    missing = tuple(b for b in MSI if b != "cirrus")
    assert detector.lacks(_view(missing, "L2A")) == "no weights cloudsen12-s2-l2a-1.0.0.pt"
    assert "coastal" in detector.lacks(_view(RGBN, "L2A"))
    with pytest.raises(BandError, match="v: cloudsen12 cannot judge it"):
        detector.detect(_view(RGBN[:3], "L1C"))


def test_cloudsen12_judges_nothing_coarser_than_its_networks(
    cloudsen12: dict[str, _Model], tmp_path: Path
) -> None:
    for file in CLOUDSEN12.values():
        (tmp_path / file).touch()
    detector = open_detector("cloudsen12", weights=tmp_path)
    fine, middling = (f"no resolution of {metres} m or finer" for metres in (10, 30))
    surface = tuple(b for b in MSI if b != "cirrus")
    assert detector.lacks(_view(RGBN, "L1C", 20.0)) == fine
    assert detector.lacks(_view(surface, "L2A", 20.0)) == fine
    assert detector.lacks(_view(MSI, "L1C", 60.0)) == middling
    assert detector.lacks(_view(OLI, "L1TP", 60.0)) == middling
    with pytest.raises(BandError, match=middling):
        detector.detect(_view(OLI, "L1TP", 60.0))
    unknown = View(np.zeros((4, 6, 6), np.float32), RGBN, level="L1C")
    assert detector.lacks(unknown) == ""


def test_a_release_of_cloudsen12_without_a_network_is_named(
    cloudsen12: dict[str, _Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {"cloudsen12": {"model_file": "cloudsen12.pt"}}
    monkeypatch.setattr(sys.modules["cloudsen12_models.cloudsen12"], "MODELS_CLOUDSEN12", old)
    with pytest.raises(ModelError, match=r"no network UNetMobV2_V2 \(it has cloudsen12\)"):
        open_detector("cloudsen12", weights=Path())


@pytest.mark.parametrize("name", ["omnicloudmask", "cloudsen12"])
def test_a_package_that_is_not_installed_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("omnicloudmask", "cloudsen12_models", "cloudsen12_models.cloudsen12"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModelError, match=f"pip install {name}"):
        open_detector(name)
