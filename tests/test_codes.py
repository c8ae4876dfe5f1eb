import numpy as np
import pytest
import rasterio

from nubila.classes import CLASS_NAMES
from nubila.codes import SCHEMES, from_codes, to_codes
from nubila.errors import InputError

OURS = np.array([*CLASS_NAMES, 255], np.uint8)


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_names_every_code_that_it_writes(name):
    scheme = SCHEMES[name]
    assert set(scheme.to) == {*CLASS_NAMES, 255}
    assert set(scheme.to.values()) <= set(scheme.names)


@pytest.mark.parametrize(
    ("name", "lossless"),
    [
        ("scl", [0, 1, 2, 3, 4, 5, 255]),
        ("fmask", [0, 1, 3, 4, 5, 255]),
        ("qa_pixel", [0, 1, 2, 3, 4, 5, 255]),
        ("cloudsen12", [0, 1, 2, 3, 255]),
        ("omnicloudmask", [0, 1, 2, 3, 255]),
        ("ukis-csmask", [0, 1, 3, 255]),
        ("s2cloudless", [0, 1, 255]),
    ],
)
def test_what_a_scheme_can_say_comes_back(name, lossless):
    back = from_codes(to_codes(OURS, name), name)
    assert [int(o) for o, b in zip(OURS, back, strict=True) if o == b] == lossless


@pytest.mark.parametrize("name", SCHEMES)
def test_what_is_not_known_is_never_clear(name):
    everything = np.arange(256 if name != "qa_pixel" else 65536, dtype=np.uint16)
    classes = from_codes(everything, name)
    assert from_codes(np.array([SCHEMES[name].to[255]]), name)[0] == 255
    if name != "qa_pixel":
        clear = set(everything[classes == 0].tolist())
        assert clear <= {k for k, v in SCHEMES[name].back.items() if v == 0}
    else:
        assert (classes[everything & 1 == 1] == 255).all()


def test_scl_unclassified_and_defective_pixels_are_not_judged():
    assert from_codes(np.array([0, 1, 7, 99]), "scl").tolist() == [255, 255, 255, 255]


def class_by_bits(value):
    names = {0: 255, 3: 1, 2: 2, 1: 1, 4: 3, 5: 4, 7: 5}  # strongest first
    return next((code for bit, code in names.items() if value & (1 << bit)), 0)


def test_qa_pixel_of_real_products_agrees_with_its_bits(shared_data):
    seen = set()
    for path in (shared_data / "landsat_c2l2").glob("*/*_QA_PIXEL.TIF"):
        with rasterio.open(path) as data:
            values = np.unique(data.read(1))
        assert from_codes(values, "qa_pixel").tolist() == [class_by_bits(int(v)) for v in values]
        seen |= set(from_codes(values, "qa_pixel").tolist())
    assert {0, 1, 3, 255} <= seen


def test_0_of_qa_pixel_is_what_warping_fills_gaps_with():
    assert from_codes(np.zeros((2, 2), np.uint16), "qa_pixel").tolist() == [[255] * 2] * 2


@pytest.mark.parametrize("name", SCHEMES)
def test_whole_numbers_as_floating_point_are_the_same_codes(name):
    codes = to_codes(OURS, name)
    whole = np.append(codes, codes).astype(np.float32)
    whole[: len(codes)] = np.nan
    classes = from_codes(whole, name)
    assert (classes[: len(codes)] == 255).all()
    np.testing.assert_array_equal(classes[len(codes) :], from_codes(codes, name))


@pytest.mark.parametrize("name", SCHEMES)
def test_what_no_scheme_can_have_is_no_data(name):
    fills = np.array([-9998, -(2**31), 65536, 2**20])
    assert (from_codes(fills, name) == 255).all()
    assert (from_codes(np.append(fills, [-3e38, 1e300, np.inf]), name) == 255).all()


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("codes", [[1.0, 2.5], ["1"], [1 + 0j]])
def test_what_is_no_whole_number_is_refused(name, codes):
    with pytest.raises(InputError, match="whole numbers"):
        from_codes(np.array(codes), name)


def test_an_unknown_scheme_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'fmask'"):
        to_codes(OURS, "fmsk")
