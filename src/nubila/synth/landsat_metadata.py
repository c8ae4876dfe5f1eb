"""The MTL of a Landsat Collection 2 product, as txt, json and xml.

Groups and keys follow real products and the Landsat 8-9 and 4-7 Collection 2 data format control
books (U.S. Geological Survey, LSDS-1822, LSDS-1328, LSDS-1336). Files that a synthetic product
has not (thermal bands, angles) are not listed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

__all__ = ["Groups", "mtl_json", "mtl_text", "mtl_xml"]

Groups = Mapping[str, Mapping[str, str | int]]
"""Group name -> key -> value; a str is quoted in txt unless it is written as a number or date."""

_ROOT: Final = "LANDSAT_METADATA_FILE"
# Values that real txt files leave without quotes although they are no plain integers.
_BARE: Final = ("DATE_", "COLLECTION_NUMBER", "EARTH_SUN", "SUN_", "CLOUD_COVER", "CORNER_",
                "GRID_CELL", "REFLECTANCE_", "ROLL_ANGLE", "RADIANCE_")  # fmt: skip


def mtl_text(groups: Groups) -> str:
    """Return ``MTL.txt`` in Object Description Language."""
    lines = [f"GROUP = {_ROOT}"]
    for name, entries in groups.items():
        lines.append(f"  GROUP = {name}")
        for key, value in entries.items():
            bare = isinstance(value, int) or key.startswith(_BARE)
            lines.append(f"    {key} = {value}" if bare else f'    {key} = "{value}"')
        lines.append(f"  END_GROUP = {name}")
    return "\n".join([*lines, f"END_GROUP = {_ROOT}", "END", ""])


def mtl_json(groups: Groups) -> str:
    """Return ``MTL.json``; real ones quote every value."""
    quoted = {g: {k: str(v) for k, v in entries.items()} for g, entries in groups.items()}
    return json.dumps({_ROOT: quoted})


def mtl_xml(groups: Groups) -> bytes:
    """Return ``MTL.xml``."""
    root = Element(_ROOT)
    for name, entries in groups.items():
        group = SubElement(root, name)
        for key, value in entries.items():
            SubElement(group, key).text = str(value)
    ElementTree.indent(root, "  ")
    head = b'<?xml version="1.0" encoding="UTF-8"?>\n'
    body: bytes = ElementTree.tostring(root, encoding="utf-8")
    return head + body + b"\n"
