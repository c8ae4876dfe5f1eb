import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from nubila.classes import class_set
from nubila.cli import app
from nubila.curate.auto_mask import auto_mask
from nubila.curate.automatic import Means
from nubila.datasets import load_sample, read_manifest
from nubila.datasets.manifest import manifest_rows, write_manifest
from nubila.detect import open_detector
from nubila.errors import InputError, ManifestError, ModelError


@pytest.fixture
def manifest(tmp_path):
    """Two rows to label, of which the second is of the validation split and has a label."""
    field, cloud = (0.12, 0.10, 0.08, 0.35), (0.62, 0.60, 0.58, 0.6)
    image = np.full((4, 6, 8), np.array(field)[:, None, None])
    image[:, :, 4:] = np.array(cloud)[:, None, None]
    rows = []
    for number, split in enumerate(("train", "validation")):
        path = tmp_path / f"{number}.tif"
        _write(path, (image * 10000).astype(np.uint16))
        bands = "blue;green;red;nir"
        rows.append({"image": path.name, "mask": "", "bands": bands, "scale": "0.0001"})
        rows[-1] |= {"split": split, "group": str(number)}
    _write(tmp_path / "mask.tif", np.ones((1, 6, 8), np.uint8))
    rows[1]["mask"] = "mask.tif"
    write_manifest(tmp_path / "manifest.csv", rows)
    return tmp_path / "manifest.csv"


def _write(path, values):
    count, rows, columns = values.shape
    profile = {"driver": "GTiff", "count": count, "height": rows, "width": columns}
    with rasterio.open(path, "w", dtype=values.dtype, **profile) as file:
        file.write(values)


def _run(*arguments):
    return CliRunner().invoke(app, ["auto-mask", *map(str, arguments)])


def test_labels_one_split_and_copies_the_other(manifest, tmp_path):
    folder = tmp_path / "labels"
    done = _run(manifest, "--clouds", "brightness", "--split", "train", "-o", folder)
    assert done.exit_code == 0, done.output
    train, validation = read_manifest(folder / "manifest.csv", root=tmp_path)
    label = load_sample(train).label
    # The rule calls shadow clear too; without swir16 snow is ruled out only by the leaves.
    assert (label[:, :4] == class_set(["clear", "cloud shadow"])).all()
    assert (label[:, 4:] == class_set(["cloud"])).all()  # its darkest visible band is above 0.35
    assert validation.mask == tmp_path / "mask.tif"


def test_uncertain_images_are_left_out_but_never_drawn_ones(manifest, tmp_path):
    done = _run(manifest, "--clouds", "brightness", "--keep", "1", "-o", tmp_path / "labels")
    assert "0 of them left out" in done.output
    assert len(read_manifest(tmp_path / "labels" / "manifest.csv", root=tmp_path)) == 2


def test_a_table_of_nothing_is_not_written(manifest, tmp_path):
    (_, row), *_ = manifest_rows(manifest)
    write_manifest(manifest, [row])
    means = Means((open_detector("brightness"),))
    with pytest.raises(InputError, match="ask for less with --keep"):
        auto_mask([manifest], tmp_path / "labels/manifest.csv", means, root=tmp_path, keep=1.1)
    assert not (tmp_path / "labels/manifest.csv").exists()


def test_manifests_of_several_folders_need_a_root(manifest, tmp_path):
    (tmp_path / "other").mkdir()
    one, two = (row for _, row in manifest_rows(manifest))
    write_manifest(tmp_path / "one.csv", [one])
    write_manifest(tmp_path / "other/two.csv", [two])
    given = (tmp_path / "one.csv", tmp_path / "other/two.csv", "-o", tmp_path / "labels")
    refused = _run(*given)
    assert isinstance(refused.exception, InputError)
    assert str(tmp_path / "other") in str(refused.exception)
    assert "--root is needed" in str(refused.exception)
    assert not (tmp_path / "labels").exists()
    done = _run(*given, "--root", tmp_path)
    assert done.exit_code == 0, done.output
    assert len(read_manifest(tmp_path / "labels/manifest.csv", root=tmp_path)) == 2


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("--flips", "sideways"), InputError, "--flips 'sideways'"),
        (("--clouds", "ukis-csmaks"), ModelError, "ukis-csmask"),
        (("--split", "trian"), ManifestError, "did you mean 'train'"),
    ],
)
def test_wrong_arguments_are_named_and_nothing_is_written(
    manifest, tmp_path, arguments, kind, message
):
    done = _run(manifest, *arguments, "-o", tmp_path / "labels")
    assert isinstance(done.exception, kind)
    assert message in str(done.exception)
    assert not (tmp_path / "labels").exists()
