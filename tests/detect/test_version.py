"""A detector with other weights, or of another release of its package, is told from itself."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from nubila.detect import open_detector, version_of
from nubila.detect.version import peer_version


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the installed packages say that they are."""
    known = {"cloudsen12_models": "1.0.2", "ukis-csmask": "1.0.0", "s2cloudless": "1.7.3"}
    monkeypatch.setattr("nubila.detect.version.version", known.__getitem__)
    return known


@pytest.mark.parametrize("name", ["ukis-csmask", "s2cloudless"])
def test_peers_that_bring_their_weights_are_told_by_release(
    name: str, releases: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Their networks are not asked, and take seconds to import.
    monkeypatch.setattr("nubila.detect.csmask._folder", Path)
    monkeypatch.setattr("nubila.detect.s2cloudless._detector", lambda *_: None)
    assert version_of(open_detector(name)) == f"{name}@{releases[name]}"
    releases[name] = "9.9"
    assert version_of(open_detector(f"{name}+hflip")) == f"{name}@9.9+hflip"


def test_peers_whose_weights_lie_apart_are_told_by_their_content_too(
    releases: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("cloudsen12_models.cloudsen12")
    networks = ("UNetMobV2_V2", "cloudsen12l2a", "landsat30", "dtacs4bands")
    module.MODELS_CLOUDSEN12 = {name: {"model_file": f"{name}.pt"} for name in networks}
    monkeypatch.setitem(sys.modules, "cloudsen12_models", ModuleType("cloudsen12_models"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    told = {}
    for place, weights in (("a", b"first"), ("b", b"later"), ("copy", b"first")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "landsat30.pt").write_bytes(weights)
        told[place] = version_of(open_detector("cloudsen12", weights=tmp_path / place))
    assert told["a"].startswith("cloudsen12@1.0.2-")
    assert told["a"] == told["copy"] != told["b"]


def test_our_models_are_told_by_their_file_and_rules_by_name() -> None:
    detector = open_detector("compact")
    assert version_of(detector) == f"compact@{detector.model.sha256[:12]}"
    assert version_of(open_detector("compact+four")) == f"{version_of(detector)}+four"
    assert version_of(open_detector("brightness")) == "brightness"


def test_a_package_that_was_put_there_by_hand_has_no_release(tmp_path: Path) -> None:
    assert peer_version("no-such-project-anywhere") == "unknown"
    (tmp_path / "weights").touch()
    assert peer_version("no-such-project-anywhere", [tmp_path / "weights"]).startswith("unknown-")
