import os

import numpy as np
import pytest

import nubila
from nubila.errors import BandError, GridError, InputError, MetadataError
from tests.infer.toy import write_toy

xr = pytest.importorskip("xarray")
dask_array = pytest.importorskip("dask.array")
import nubila.xarray  # noqa: E402 (registers the accessor, once xarray is known to be there)

BANDS = ("blue", "green", "red", "nir")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_toy(tmp_path_factory.mktemp("model") / "toy.onnx", bands=BANDS))


@pytest.fixture(scope="module")
def reflectance():
    rng = np.random.default_rng(3)
    smooth = rng.uniform(0.0, 0.8, (4, 40, 45)).repeat(32, axis=1).repeat(32, axis=2)
    values = (smooth + rng.normal(0, 0.02, smooth.shape)).astype(np.float32)[:, :1203, :1410]
    values[:, 200:300, 900:] = np.nan
    return values


def dataset(values, names=BANDS, dims=("y", "x"), **attrs):
    coords = {
        "y": 5e6 - 20.0 * np.arange(values.shape[-2]),
        "x": 4e5 + 20.0 * np.arange(values.shape[-1]),
    }
    variables = {n: (dims, v, dict(attrs)) for n, v in zip(names, values, strict=True)}
    return xr.Dataset(variables, coords={k: v for k, v in coords.items() if k in dims})


def test_a_dataset_gives_what_predict_gives(model, reflectance):
    mask = dataset(reflectance).nubila.mask(model=model)
    expected = nubila.predict(reflectance, bands=BANDS, model=model).classes
    np.testing.assert_array_equal(mask.values, expected)
    assert (mask.values[200:300, 900:] == 255).all()
    assert len(np.unique(expected)) > 2, (
        "the toy model must tell pixels apart for this to mean much"
    )
    assert mask.dims == ("y", "x")
    assert mask.attrs["flag_meanings"].split()[3] == "cloud_shadow"


def test_what_a_mask_suffers_without_a_band_is_a_comment(model, reflectance):
    small = reflectance[:, :64, :64]
    mask = dataset(small[:3], BANDS[:3]).nubila.mask(model="small-int8")
    assert mask.attrs["comment"].startswith("without the band nir, bright or hazy open ground")
    whole = dataset(small, ("blue", "green", "red", "nir08")).nubila.mask(model="small-int8")
    assert "band nir," not in whole.attrs["comment"]
    assert "comment" not in dataset(small).nubila.mask(model=model, nodata=np.nan).attrs


@pytest.mark.parametrize("chunks", [None, {"y": 40, "x": 30}])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_0_in_every_band_is_no_data_unless_something_is_said_to_be(model, dtype, chunks):
    values = np.random.default_rng(4).integers(1100, 6000, (4, 90, 80)).astype(dtype)
    values[:, :, :33] = 0
    values[1, :20] = 0
    given = {"model": model, "scale": 1e-4, "offset": -0.1}
    for attrs in ({}, {"_FillValue": np.nan}):
        data = (
            dataset(values, **attrs) if chunks is None else dataset(values, **attrs).chunk(chunks)
        )
        mask = data.nubila.mask(**given)
        assert (mask.chunks is None) == (chunks is None)
        np.testing.assert_array_equal(mask.values == 255, (values == 0).all(axis=0))
        assert "exactly 0 in every band" in mask.attrs["comment"]
    for told in (
        data.nubila.mask(nodata=np.nan, **given),
        dataset(values, nodata=65535).nubila.mask(**given),
    ):
        assert (told.values != 255).all() and "comment" not in told.attrs
    for name in BANDS:  # what xarray decodes is NaN from then on
        data[name].attrs = {}
        data[name].encoding["_FillValue"] = 65535
    assert (data.nubila.mask(**given).values != 255).all()


def test_labels_of_sentinel_2_stand_for_bands_and_order_does_not_matter(model, reflectance):
    shuffled = dataset(reflectance[[3, 0, 2, 1]], ("B08", "B02", "B04", "B03"))
    expected = dataset(reflectance).nubila.mask(model=model)
    np.testing.assert_array_equal(shuffled.nubila.mask(model=model).values, expected.values)


@pytest.mark.parametrize("chunks", [(1203, 1410), (500, 333), (97, 701), (64, 1410)])
def test_chunks_leave_no_trace(model, reflectance, chunks):
    lazy = dataset(reflectance).chunk({"y": chunks[0], "x": chunks[1]})
    mask = lazy.nubila.mask(model=model)
    assert isinstance(mask.data, dask_array.Array)
    expected = dataset(reflectance).nubila.mask(model=model)
    np.testing.assert_array_equal(mask.compute(scheduler="threads").values, expected.values)


def test_times_are_masked_one_by_one(model, reflectance):
    two = np.stack([reflectance[:, :96, :128], reflectance[:, 400:496, :128]], axis=1)
    data = dataset(two, dims=("time", "y", "x"))
    eager = data.nubila.mask(model=model)
    lazy = data.chunk({"time": 2, "y": 50}).nubila.mask(model=model)
    assert eager.dims == ("time", "y", "x")
    for time in range(2):
        expected = nubila.predict(two[:, time], bands=BANDS, model=model).classes
        np.testing.assert_array_equal(eager.values[time], expected)
        np.testing.assert_array_equal(lazy.values[time], expected)


def counts_of(reflectance):
    counts = np.round(reflectance[:, :128, :128] * 10000 + 1000)
    return np.where(np.isnan(counts), 0, counts).astype(np.uint16)


def test_counts_take_their_scale_from_attributes_or_arguments(model, reflectance):
    counts = counts_of(reflectance)
    given = dataset(counts).nubila.mask(model=model, scale=1e-4, offset=-0.1, nodata=0)
    told = dataset(counts, scale_factor=1e-4, add_offset=-0.1, _FillValue=0).nubila.mask(
        model=model
    )
    expected = nubila.predict(counts * np.float32(1e-4) - np.float32(0.1), bands=BANDS, model=model)
    np.testing.assert_array_equal(given.values, told.values)
    assert (given.values == expected.classes).mean() > 0.999


def test_counts_without_a_scale_are_refused(model, reflectance):
    with pytest.raises(InputError, match="no scale is known"):
        dataset(counts_of(reflectance)).nubila.mask(model=model)


def test_bands_of_different_scale_are_refused(model, reflectance):
    data = dataset(counts_of(reflectance), scale_factor=1e-4)
    data["nir"].attrs["scale_factor"] = 1e-3
    with pytest.raises(MetadataError, match="nir"):
        data.nubila.mask(model=model)


def test_a_data_array_as_rioxarray_loads_it(model, reflectance):
    array = xr.DataArray(reflectance, dims=("band", "y", "x"), coords={"band": [1, 2, 3, 4]})
    expected = dataset(reflectance).nubila.mask(model=model)
    named = array.assign_attrs(long_name=BANDS)
    np.testing.assert_array_equal(named.nubila.mask(model=model).values, expected.values)
    given = array.nubila.mask(model=model, bands="blue,green,red,nir")
    np.testing.assert_array_equal(given.values, expected.values)
    with pytest.raises(BandError, match="not named"):
        array.nubila.mask(model=model)


def test_a_missing_band_and_missing_dimensions_are_named(model, reflectance):
    with pytest.raises(BandError, match="red"):
        dataset(reflectance[:2], ("blue", "green")).nubila.mask(model=model)
    with pytest.raises(GridError, match="expected y and x"):
        xr.Dataset({"blue": ("point", np.zeros(3, np.float32))}).nubila.mask(model=model)


def test_nan_for_no_data_is_one_and_the_same(model, reflectance):
    part = reflectance[:, 180:276, 880:1008]
    data = dataset(part)
    for variable in data.data_vars.values():
        variable.attrs["nodata"] = float("nan")
    expected = dataset(part).nubila.mask(model=model)
    np.testing.assert_array_equal(data.nubila.mask(model=model).values, expected.values)


def test_bands_that_are_not_used_need_not_agree(model, reflectance):
    counts = counts_of(reflectance[:, :96, :128])
    data = dataset(counts, scale_factor=1e-4, _FillValue=0)
    expected = data.nubila.mask(model=model)
    thermal = data["red"].assign_attrs(scale_factor=0.00341802, add_offset=149.0)
    mask = data.assign(lwir11=thermal).nubila.mask(model=model)
    np.testing.assert_array_equal(mask.values, expected.values)


def test_the_scale_of_1_that_rioxarray_writes_for_none_is_none(model, reflectance):
    counts = counts_of(reflectance[:, :96, :128])
    data = dataset(counts, scale_factor=1.0, add_offset=0.0)
    with pytest.raises(InputError, match="no scale is known"):
        data.nubila.mask(model=model)
    array = data.to_dataarray("band").assign_attrs(scale_factor=1.0, add_offset=0.0)
    with pytest.raises(InputError, match="no scale is known"):
        array.nubila.mask(model=model, bands=BANDS)
    given = data.nubila.mask(model=model, scale=1e-4)
    assert (given.values == dataset(counts).nubila.mask(model=model, scale=1e-4).values).all()


def write_counts(path, counts, nodata, scales=None):
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(
        path, "w", driver="GTiff", count=4, dtype=counts.dtype.name, height=counts.shape[1],
        width=counts.shape[2], nodata=nodata, crs="EPSG:32632",
        transform=rasterio.Affine(20, 0, 6e5, 0, -20, 5.3e6),
    ) as data:  # fmt: skip
        data.write(counts)
        data.descriptions = BANDS
        if scales:
            data.scales, data.offsets = scales
    return path


@pytest.fixture
def signed(reflectance):
    counts = np.round(reflectance[:, 160:288, 860:988] * 10000)
    return np.where(np.isnan(counts), -9999, counts).astype(np.int16)


def as_variables(array):
    return array.to_dataset("band").rename(dict(enumerate(BANDS, start=1)))


@pytest.mark.parametrize("place", ["dataset", "encoding", "rioxarray", "variable"])
def test_no_data_is_found_wherever_it_is_told(model, signed, tmp_path, place):
    rioxarray = pytest.importorskip("rioxarray")
    array = rioxarray.open_rasterio(write_counts(tmp_path / "m.tif", signed, -9999))
    if place == "dataset":
        data = as_variables(array)
        assert "_FillValue" in data.attrs and "_FillValue" not in data["blue"].attrs
    else:
        data = array.drop_attrs()
        data.encoding = {}
        if place == "encoding":
            data.encoding["_FillValue"] = -9999
        elif place == "rioxarray":
            data.rio.set_nodata(-9999, inplace=True)
        else:
            data = as_variables(data)
            for variable in data.data_vars.values():
                variable.attrs["_FillValue"] = -9999
            data.attrs["_FillValue"] = 0  # the variable's own goes before
    bands = BANDS if isinstance(data, xr.DataArray) else None
    mask = data.nubila.mask(model=model, scale=1e-4, bands=bands)
    expected = nubila.predict(signed, BANDS, model=model, scale=1e-4, nodata=-9999).classes
    assert (expected == 255).sum() > 1000
    np.testing.assert_array_equal(mask.values, expected)


@pytest.mark.parametrize("how", [{}, {"masked": True}, {"mask_and_scale": True}])
def test_a_scale_is_applied_once_however_rioxarray_opens(model, signed, tmp_path, how):
    rioxarray = pytest.importorskip("rioxarray")
    path = write_counts(tmp_path / "m.tif", signed, -9999, ([1e-4] * 4, [-0.05] * 4))
    mask = as_variables(rioxarray.open_rasterio(path, **how)).nubila.mask(model=model)
    expected = nubila.predict(
        signed, BANDS, model=model, scale=1e-4, offset=-0.05, nodata=-9999
    ).classes
    assert (mask.values == expected).mean() > 0.999
    np.testing.assert_array_equal(mask.values == 255, expected == 255)


@pytest.mark.parametrize("dim", ["variable", "bands"])
def test_files_put_together_keep_no_number_of_a_band(model, signed, tmp_path, dim):
    rioxarray = pytest.importorskip("rioxarray")
    whole = rioxarray.open_rasterio(write_counts(tmp_path / "m.tif", signed, -9999))
    files = {name: whole[n : n + 1].squeeze() for n, name in enumerate(BANDS)}
    for file in files.values():
        file.coords["band"] = 1  # as that of a file of one band
    array = xr.Dataset(files).to_array(dim)
    assert array.coords["band"] == 1
    mask = array.nubila.mask(model=model, scale=1e-4, nodata=-9999)
    expected = nubila.predict(signed, BANDS, model=model, scale=1e-4, nodata=-9999).classes
    np.testing.assert_array_equal(mask.values, expected)


def test_a_coordinate_of_names_names_the_bands(model, reflectance):
    part = reflectance[:, :96, :128]
    order = [3, 1, 0, 2]
    array = xr.DataArray(
        part[order], dims=("band", "y", "x"), coords={"band": [BANDS[i] for i in order]}
    )
    expected = dataset(part).nubila.mask(model=model)
    np.testing.assert_array_equal(array.nubila.mask(model=model).values, expected.values)
    stale = array.assign_attrs(long_name=("Band 1", "Band 2", "Band 3", "Band 4"))
    np.testing.assert_array_equal(stale.nubila.mask(model=model).values, expected.values)


def test_floating_point_counts_without_a_scale_are_refused(model, signed):
    counts = np.where(signed == -9999, np.nan, signed).astype(np.float32)
    with pytest.raises(InputError, match="no reflectance"):
        dataset(counts).nubila.mask(model=model)
    # The scale of 1 that rioxarray writes is none for them either.
    with pytest.raises(InputError, match="no reflectance"):
        dataset(counts, scale_factor=1.0, add_offset=0.0).nubila.mask(model=model)
    lazy = dataset(counts).chunk({"y": 64}).nubila.mask(model=model)
    with pytest.raises(InputError, match="no reflectance"):
        lazy.compute(scheduler="synchronous")
    lazy = dataset(counts).chunk({"y": 64}).nubila.mask(model=model, scale=1e-4)
    expected = nubila.predict(counts, BANDS, model=model, scale=1e-4).classes
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous").values, expected)


def renamed(values, names, **changes):
    """Return four bands under other names, and more of the same values as `changes` say."""
    data = dataset(values, names)
    return data.assign({name: data[source] for name, source in changes.items()})


def test_labels_that_may_be_landsats_are_refused(model, reflectance):
    part = reflectance[:, :64, :64]
    names = ("B02", "B03", "B04", "B05")  # of HLS: B05 is Landsat's near infrared
    for more in ({}, {"B10": "B02"}, {"B10": "B02", "B11": "B02"}):
        with pytest.raises(BandError, match=r"B05.*not the same.*rename.*bands="):
            renamed(part, names, **more).nubila.mask(model=model)
    with pytest.raises(BandError, match="SR_B5"):
        renamed(part, ("SR_B2", "SR_B3", "SR_B4", "SR_B5")).nubila.mask(model=model)
    # Thermal bands beside common names were taken for cirrus and short-wave infrared.
    with pytest.raises(BandError, match="B10"):
        renamed(part, BANDS, B10="blue").nubila.mask(model=model)
    array = dataset(part, names).to_dataarray("band")
    with pytest.raises(BandError, match=r"B05.*bands="):
        array.nubila.mask(model=model)
    expected = dataset(part).nubila.mask(model=model).values
    told = array.nubila.mask(model=model, bands=BANDS)
    np.testing.assert_array_equal(told.values, expected)
    told = array.assign_attrs(long_name=BANDS).nubila.mask(model=model)
    np.testing.assert_array_equal(told.values, expected)


def test_labels_are_read_where_one_shows_them_to_be_sentinel_2s(tmp_path, reflectance):
    wanted = ("blue", "green", "red", "nir", "swir16", "cirrus")
    six = np.concatenate([reflectance[:, :64, :64], reflectance[1:3, 64:128, :64]])
    model = str(write_toy(tmp_path / "six.onnx", bands=wanted))
    expected = dataset(six, wanted).nubila.mask(model=model).values
    for labels in (
        ("B02", "B03", "B04", "B08", "B11", "B10"),
        ("b02", "b03", "b04", "b08", "b11", "b10"),
        ("B02_TOA", "B03_TOA", "B04_TOA", "B08_TOA", "B11_TOA", "B10_TOA"),
    ):
        np.testing.assert_array_equal(
            dataset(six, labels).nubila.mask(model=model).values, expected
        )
    shown = dataset(six, ("B2", "B3", "B4", "B8", "B11", "B10"))  # as Earth Engine writes them
    with pytest.raises(BandError, match="B11"):
        shown.nubila.mask(model=model)
    mask = shown.assign(B8A=shown["B8"]).nubila.mask(model=model)
    np.testing.assert_array_equal(mask.values, expected)


def test_two_variables_of_one_band_are_refused(model, reflectance):
    data = renamed(reflectance[:, :64, :64], BANDS, B08="red")
    with pytest.raises(BandError, match="nir, B08: each would be the band nir"):
        data.nubila.mask(model=model)
    expected = dataset(reflectance[:, :64, :64]).nubila.mask(model=model)
    told = data.nubila.mask(model=model, bands=[*BANDS, "-"])
    np.testing.assert_array_equal(told.values, expected.values)
    with pytest.raises(BandError, match="4 band names for 5 bands"):
        data.nubila.mask(model=model, bands=BANDS)
    # Of bands that the model does not take there may be any number.
    thermal = renamed(reflectance[:, :64, :64], BANDS, lwir="red", lwir11="red")
    np.testing.assert_array_equal(thermal.nubila.mask(model=model).values, expected.values)


@pytest.mark.parametrize("shape", [(60, 60), (9, 1203), (1203, 10), (13, 7)])
def test_lazy_arrays_smaller_than_the_halo_are_masked(model, reflectance, shape):
    part = reflectance[:, : shape[0], : shape[1]]
    expected = dataset(part).nubila.mask(model=model)
    lazy = dataset(part).chunk({"y": 40, "x": 40}).nubila.mask(model=model)
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous").values, expected.values)
    assert len(np.unique(expected)) > 1


def test_lazy_arrays_smaller_than_the_halo_of_the_default_model(reflectance):
    part = reflectance[:3, :60, :60]
    expected = dataset(part, BANDS[:3]).nubila.mask()
    lazy = dataset(part, BANDS[:3]).chunk({"y": 60}).nubila.mask()
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous").values, expected.values)


def test_a_model_file_that_was_replaced_is_loaded_anew(tmp_path, reflectance):
    data = dataset(reflectance[:, :64, :64])
    path = write_toy(tmp_path / "toy.onnx", bands=BANDS, seed=1)
    first = data.nubila.mask(model=str(path)).values
    write_toy(path, bands=BANDS, seed=2)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))  # however coarse the clock
    second = data.nubila.mask(model=str(path)).values
    assert (first != second).any()
    other = write_toy(tmp_path / "other.onnx", bands=BANDS, seed=2)
    np.testing.assert_array_equal(second, data.nubila.mask(model=str(other)).values)


def test_a_name_means_the_file_of_the_folder_one_is_in(tmp_path, monkeypatch, reflectance):
    data = dataset(reflectance[:, :64, :64])
    masks = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        path = write_toy(folder / "toy.onnx", bands=BANDS, seed=seed)
        os.utime(path, ns=(1, 10**18))  # as old and as long as the other
        monkeypatch.chdir(folder)
        masks.append(data.nubila.mask(model="toy.onnx").values)
    assert (masks[0] != masks[1]).any()


def test_what_is_given_ends_a_disagreement(model, reflectance):
    counts = counts_of(reflectance[:, :96, :128])
    expected = dataset(counts).nubila.mask(model=model, scale=1e-4, offset=-0.1, nodata=0).values
    given = {"scale": 1e-4, "offset": -0.1, "nodata": 0}
    said = {"scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0}
    for key, argument in zip(said, given, strict=True):
        data = dataset(counts, **said)
        data["nir"].attrs[key] = 7
        with pytest.raises(MetadataError, match=f"'nir' has .* 7.*give {argument}="):
            data.nubila.mask(model=model)
        others = {name: value for name, value in given.items() if name != argument}
        with pytest.raises(MetadataError, match="nir"):
            data.nubila.mask(model=model, **others)
        mask = data.nubila.mask(model=model, **{argument: given[argument]})
        np.testing.assert_array_equal(mask.values, expected)


def test_bands_that_say_nothing_of_no_data_do_not_disagree(model, reflectance):
    counts = counts_of(reflectance[:, :96, :128])
    expected = dataset(counts).nubila.mask(model=model, scale=1e-4, offset=-0.1, nodata=0).values
    for silent in BANDS:
        data = dataset(counts, scale_factor=1e-4, add_offset=-0.1, _FillValue=0)
        del data[silent].attrs["_FillValue"]
        np.testing.assert_array_equal(data.nubila.mask(model=model).values, expected)
    # Nor is an offset of 0 another than none; but a scale is another than none.
    data = dataset(counts, scale_factor=1e-4)
    data["red"].attrs["add_offset"] = 0.0
    plain = dataset(counts, scale_factor=1e-4).nubila.mask(model=model)
    np.testing.assert_array_equal(data.nubila.mask(model=model).values, plain.values)
    del data["red"].attrs["scale_factor"]
    with pytest.raises(MetadataError, match="give scale="):
        data.nubila.mask(model=model)


@pytest.mark.parametrize("place", ["encoding", "attrs"])
@pytest.mark.parametrize("kind", ["coordinate", "variable", "array"])
def test_the_mask_has_the_crs_of_the_bands(model, reflectance, place, kind):
    pytest.importorskip("rioxarray")
    data = dataset(reflectance[:, :64, :64]).rio.write_crs("EPSG:32632", grid_mapping_name="utm")
    for variable in data.data_vars:
        data[variable].encoding.pop("grid_mapping", None)
        data[variable].attrs.pop("grid_mapping", None)
        getattr(data[variable], place)["grid_mapping"] = "utm"
    if kind == "variable":
        data = data.reset_coords("utm")
    elif kind == "array":
        data = data.to_dataarray("band")
        data.encoding.pop("grid_mapping", None)
        data.attrs.pop("grid_mapping", None)
        getattr(data, place)["grid_mapping"] = "utm"
    mask = data.nubila.mask(model=model)
    assert getattr(mask, place)["grid_mapping"] == "utm"
    assert mask.rio.crs.to_epsg() == 32632
    assert "flag_values" in mask.attrs


def test_what_cannot_be_masked_is_told_before_anything_is_computed(model, reflectance):
    lazy = dataset(reflectance[:, :64, :64]).chunk({"y": 32})
    with pytest.raises(BandError, match="needs the band red"):
        lazy.drop_vars("red").nubila.mask(model=model)
    with pytest.raises(InputError, match="smoke"):
        lazy.nubila.mask(model=model, thresholds={"smoke": 0.5})
    with pytest.raises(InputError, match="between 0 and 1"):
        lazy.nubila.mask(model=model, thresholds={"cloud": 1.5})
    for wrong in ("cloud", 0.4, {"cloud": "0.5"}, {"cloud": None}):
        with pytest.raises(InputError, match=r"thresholds? (are|of class 'cloud' must)"):
            lazy.nubila.mask(model=model, thresholds=wrong)
    with pytest.raises(BandError, match="none of the bands"):
        lazy[["red"]].rename(red="swir22").nubila.mask(model=model)


def test_one_near_infrared_that_is_needed_stands_in_for_the_other(tmp_path, reflectance):
    part = reflectance[:, :64, :64]
    narrow = (*BANDS[:3], "nir08")
    for needed, given in ((narrow, BANDS), (BANDS, narrow)):
        model = str(write_toy(tmp_path / f"{needed[3]}.onnx", bands=needed, required=4))
        mask = dataset(part, given).nubila.mask(model=model)
        expected = dataset(part, needed).nubila.mask(model=model)
        np.testing.assert_array_equal(mask.values, expected.values)


@pytest.mark.parametrize("kind", [np.float64, np.array, str])
def test_numbers_of_attributes_may_be_of_any_type(model, reflectance, kind):
    counts = (reflectance[:, :96, :128] * 10_000).astype(np.float32)
    counts[:, 40:60] = -9999.9
    expected = nubila.predict(counts, BANDS, model=model, scale=1e-4, nodata=-9999.9).classes
    assert (expected[40:60] == 255).all()
    said = {"_FillValue": kind(-9999.9), "scale_factor": kind(1e-4), "add_offset": kind(0)}
    data = dataset(counts, **said)
    np.testing.assert_array_equal(data.nubila.mask(model=model).values, expected)
    array = data.to_dataarray("band").assign_attrs(**said)
    np.testing.assert_array_equal(array.nubila.mask(model=model).values, expected)
    given = dict(zip(("nodata", "scale", "offset"), said.values(), strict=True))
    bare = dataset(counts).nubila.mask(model=model, **given)
    np.testing.assert_array_equal(bare.values, expected)


def test_attributes_that_make_no_reflectance_are_refused_before_anything_is_computed(
    model, reflectance
):
    counts = counts_of(reflectance[:, :64, :64])
    lazy = dataset(counts, scale_factor=-1e-4, add_offset=0.5).chunk({"y": 32})
    with pytest.raises(InputError, match=r"attribute scale_factor is -0\.0001"):
        lazy.nubila.mask(model=model)
    with pytest.raises(InputError, match=r"offset is 1e\+300"):
        lazy.nubila.mask(model=model, scale=1e-4, offset=1e300)
    with pytest.raises(InputError, match=r"scale is \[1, 2\], expected a number"):
        lazy.nubila.mask(model=model, scale=[1, 2])
    with pytest.raises(MetadataError, match="variable 'blue': _FillValue is 'none'"):
        dataset(counts, scale_factor=1e-4, _FillValue="none").nubila.mask(model=model)


@pytest.mark.parametrize("dim", ["y", "x"])
@pytest.mark.parametrize("lazy", [False, True])
def test_an_image_without_pixels_is_refused(model, reflectance, dim, lazy):
    empty = dataset(reflectance).isel({dim: slice(0, 0)})
    with pytest.raises(InputError, match="there are no pixels: y, x are of sizes"):
        (empty.chunk() if lazy else empty).nubila.mask(model=model)
