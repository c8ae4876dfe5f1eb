"""Giving a model file another card: its metadata change, and no other byte of it does.

An ONNX file is one protocol buffer message, ModelProto: fields one after the other, each a tag
(number and kind of field) and its value. Field 14 holds an entry of the metadata, with the key in
field 1 and the value in field 2 (onnx.proto, https://github.com/onnx/onnx; the encoding is that of
https://protobuf.dev/programming-guides/encoding). So a card is changed by leaving out a field and
adding one, for which the graph need not be understood.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nubila.errors import ModelError
from nubila.models_io.card import CARD_KEY, ModelCard
from nubila.raster.atomic import atomic_path

__all__ = ["copy_with_card", "without_card"]

_METADATA: Final = 14
_KEY: Final = 1
_VALUE: Final = 2
_DELIMITED: Final = 2  # the kind of field that says how many bytes it has
_FIXED: Final = {1: 8, 5: 4}  # kinds of field of so many bytes


def copy_with_card(source: Path, target: Path, card: ModelCard) -> None:
    """Write a model file with another card; the rest of it stays byte for byte.

    Args:
        source: the ONNX file; may be the target.
        target: the file to write.
        card: takes the place of the card, if there is one.

    Raises:
        ModelError: the source is no protocol buffer message, or is cut short.
        OutputError: the target cannot be written.
    """
    kept = without_card(source)
    entry = _field(_KEY, CARD_KEY.encode()) + _field(_VALUE, card.model_dump_json().encode())
    with atomic_path(target) as temporary:
        temporary.write_bytes(kept + _field(_METADATA, entry))


def without_card(path: Path) -> bytes:
    """Return all of a model file but its card.

    Raises:
        ModelError: the file is no protocol buffer message, or is cut short.
    """
    data = path.read_bytes()
    try:
        return b"".join(data[a:b] for a, b, is_card in _fields(data) if not is_card)
    except (IndexError, ValueError) as error:
        raise ModelError(f"{path}: not an ONNX file, or cut short ({error})") from error


def _fields(data: bytes) -> Iterator[tuple[int, int, bool]]:
    """Give where each field of a model starts and ends, and whether it is the card."""
    place = 0
    while place < len(data):
        start = place
        tag, place = _number(data, place)
        number, kind = tag >> 3, tag & 7
        value = place
        if kind == _DELIMITED:
            length, value = _number(data, place)
            place = value + length
        elif kind in _FIXED:
            place += _FIXED[kind]
        elif kind == 0:
            _, place = _number(data, place)
        else:
            raise ValueError(f"a field of kind {kind} at byte {start}")
        if place > len(data):
            raise ValueError(f"a field that ends at byte {place} of {len(data)}")
        yield start, place, number == _METADATA and _has_card(data[value:place])


def _has_card(entry: bytes) -> bool:
    """Tell whether an entry of the metadata, whose key goes first, has the card's key."""
    return entry.startswith(_field(_KEY, CARD_KEY.encode()))


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _DELIMITED) + _varint(len(value)) + value


def _number(data: bytes, place: int) -> tuple[int, int]:
    """Return the number that starts at a place, seven bits a byte, and the place after it."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
