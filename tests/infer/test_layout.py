"""Tiles cover what they should once, and see as far as they must."""

from hypothesis import given
from hypothesis import strategies as st

from nubila.infer.layout import spans


@given(data=st.data())
def test_spans_cover_an_area_once_with_their_halos(data):
    stride = data.draw(st.sampled_from([1, 2, 4, 8, 32]), "stride")
    halo = data.draw(st.integers(0, 5), "halo in strides") * stride
    length = data.draw(st.integers(1, 2000), "length")
    start = data.draw(st.integers(0, length - 1), "start")
    stop = data.draw(st.integers(start + 1, length), "stop")
    tile = data.draw(st.integers(2 * halo // stride + 1, 80), "tile in strides") * stride
    found = spans(start, stop, tile=tile, halo=halo, stride=stride, length=length)
    assert [s.core_start for s in found] == [start, *(s.core_stop for s in found[:-1])]
    assert found[-1].core_stop == stop
    assert len({s.stop - s.start for s in found}) == 1
    for span in found:
        assert span.core_start < span.core_stop
        assert span.start % stride == span.stop % stride == 0
        assert 0 <= span.start <= span.core_start and span.core_stop <= span.stop < length + stride
        assert span.stop - span.start <= tile
        assert span.start == 0 or span.core_start - span.start >= halo
        assert span.stop >= length or span.stop - span.core_stop >= halo


@given(
    length=st.integers(1, 3000),
    stride=st.sampled_from([1, 4, 32]),
    strides=st.integers(0, 4),
    more=st.integers(1, 40),
)
def test_there_are_no_more_tiles_than_needed(length, stride, strides, more):
    halo = strides * stride
    tile = 2 * halo + more * stride
    found = spans(0, length, tile=tile, halo=halo, stride=stride, length=length)
    seen = -(-length // stride) * stride
    least = 1 if seen <= tile else -(-(seen - 2 * halo) // (tile - 2 * halo))
    assert len(found) <= least
