from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nubila.datasets import check_collection, check_manifest, read_collection
from nubila.errors import ManifestError
from nubila.synth.collections import write_collection
from tests.datasets.conftest import WriteManifest, write_raster


def _problems(name: str, folder: Path) -> dict[str, str]:
    """Return file name -> what is said of it."""
    found = {}
    for problem in check_collection(name, folder).problems:
        path, _, said = problem.partition(": ")
        found[Path(path).name] = said
    return found


def test_everything_in_one_list(tmp_path: Path) -> None:
    write_collection("oncloudn", tmp_path, count=6, size=32)
    chips, labels = tmp_path / "train_features", tmp_path / "train_labels"
    (chips / "aaaa/B03.tif").unlink()
    (labels / "aaab.tif").unlink()
    whole = (chips / "aaac/B08.tif").read_bytes()
    (chips / "aaac/B08.tif").write_bytes(whole[: len(whole) - 40])
    write_raster(chips / "aaad/B02.tif", np.ones((1, 31, 32), np.uint16))
    write_raster(labels / "aaae.tif", np.full((1, 32, 32), 3, np.uint8))
    write_raster(labels / "lone.tif", np.zeros((1, 32, 32), np.uint8))
    (labels / "aaaf.tif").write_bytes(b"no image")
    result = check_collection("oncloudn", tmp_path)
    text = "\n".join(result.problems)
    for expected in (
        "aaaa/B03.tif: missing (sample train_features/aaaa/B02 has others of its files)",
        "aaab.tif: missing",
        "aaac/B08.tif: unreadable",
        "aaad/B02.tif: mis-sized: 31 x 32 pixels, expected 32 x 32",
        "aaae.tif: holds values that codes does not name, so that they are ignored: 3 (100.0 %)",
        "train_features/lone/B02.tif: missing",
    ):
        assert expected in text
    assert "aaaf.tif cannot be decoded" in text
    assert result.samples == 7
    with pytest.raises(ManifestError, match="nubila data check"):
        read_collection("oncloudn", tmp_path)


def test_the_files_that_a_listing_names(tmp_path: Path) -> None:
    write_collection("cloud38", tmp_path, count=2, size=16)
    folder = tmp_path / "38-Cloud_training"
    victim = sorted((folder / "train_red").iterdir())[0]
    for band in ("red", "green", "blue", "nir", "gt"):
        (folder / f"train_{band}" / victim.name.replace("red", band)).unlink()
    found = _problems("cloud38", tmp_path)
    assert set(found) == {victim.name.replace("red", b) for b in ("red", "green", "blue", "nir",
                                                                  "gt")}  # fmt: skip


def test_the_mask_of_a_scene_is_named_once(tmp_path: Path) -> None:
    write_collection("cloud38", tmp_path, count=2, size=16)
    (mask,) = (tmp_path / "38-Cloud_test/Entire_scene_gts").iterdir()
    write_raster(mask.with_suffix(".tif"), np.full((1, 27, 24), 9, np.uint8))
    mask.with_suffix(".tif").rename(mask)
    (problem,) = _problems("cloud38", tmp_path).items()
    assert problem[0] == mask.name
    assert problem[1].endswith(
        "does not name, so that they are ignored: 9 (100.0 %) (named: 0, 255)"
    )
    mask.unlink()
    assert list(_problems("cloud38", tmp_path)) == [mask.name]


def test_arrays(tmp_path: Path) -> None:
    write_collection("s2cmc", tmp_path, count=3, size=16)
    first, second, third = sorted((tmp_path / "subscenes").iterdir())
    first.write_bytes(first.read_bytes()[:-100])
    np.save(second, np.zeros((15, 16, 13), np.float32))
    np.save(tmp_path / "masks" / third.name, np.ones((16, 16, 3), bool))  # of no class alone
    found = check_collection("s2cmc", tmp_path).problems
    assert len(found) == 3
    assert "unreadable" in found[0] and first.name in found[0]
    assert f"{second.name}: mis-sized: 16 x 16 pixels, its image 15 x 16" in found[1]
    assert f"{third.name}: holds values" in found[2] and "65793 (100.0 %)" in found[2]


def test_products(tmp_path: Path) -> None:
    write_collection("alps", tmp_path, count=3, size=32)
    first, second, third = sorted((tmp_path / "scenes").iterdir())
    first.write_bytes(first.read_bytes()[:-200])
    second.unlink()
    (mask,) = (tmp_path / "masks").glob(f"*/{third.name[11:15]}-*-{third.name[17:19]}/mask.tif")
    mask.unlink()
    found = check_collection("alps", tmp_path).problems
    assert len(found) == 3
    assert "no whole zip archive" in found[0]
    assert "scenes/S2_MSIL1C_" in found[1] and "missing" in found[1]
    assert found[2].startswith(f"{mask}: missing")


def test_manifests(manifest: WriteManifest, folder: Path) -> None:
    path = manifest({}, {"image": "alps/gone.tif"}, {"bands": "blue;green"}, {"bands": "x"})
    found = check_manifest(path).problems
    text = "\n".join(found)
    assert "gone.tif: missing" in text
    assert "a.tif: 3 bands, expected 2" in text
    assert "unknown band name 'x'" in text
    assert "stands on line 2 already" in text
    assert check_manifest(manifest()).problems == ()


@pytest.mark.parametrize("rest", ["255=ignored", "*=ignored", "*=cloud"])
def test_values_that_are_named_as_ignored_are_known(manifest: WriteManifest, rest: str) -> None:
    codes = "0=clear;64=cloud shadow;192=thin cloud"
    (problem,) = check_manifest(manifest({"codes": codes})).problems
    assert "so that they are ignored: 255 (25.0 %) (named: 0, 64, 192)" in problem
    assert check_manifest(manifest({"codes": f"{codes};{rest}"})).problems == ()


def test_images_without_a_label_are_looked_at_and_counted(manifest: WriteManifest) -> None:
    found = check_manifest(manifest({"mask": ""}))
    assert (found.samples, found.unlabelled, found.problems) == (1, 1, ())
    found = check_manifest(manifest({"mask": "", "bands": "blue"}))
    assert "expected 1" in found.problems[0]
