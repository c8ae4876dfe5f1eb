"""Reading product XML safely: no entities, no document types, a size limit, no namespaces."""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from nubila.errors import MetadataError

__all__ = ["find_all", "find_text", "parse_xml"]

# The largest product XML known, of a Sentinel-2 product with many granules, has a few megabytes.
_MOST_BYTES: Final = 32 * 2**20


class _Refused(Exception):  # noqa: N818 (a signal out of the parser, not an error of its own)
    """The parser met something that no product has."""


def parse_xml(content: bytes, name: str) -> Element:
    """Return the root of an XML document, its tags and attributes without namespace prefixes.

    Args:
        content: the file.
        name: what an error calls it.

    Raises:
        MetadataError: not XML, cut short, too large, or with a document type or entities, which
            no product has and which serve to fill the memory or to read other files.
    """
    if len(content) > _MOST_BYTES:
        raise MetadataError(f"{name}: {len(content)} bytes, larger than any product's XML")
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = lambda tag, attributes: builder.start(
        _local(tag), {_local(key): value for key, value in attributes.items()}
    )
    parser.EndElementHandler = lambda tag: builder.end(_local(tag))
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(content, True)
    except _Refused:
        raise MetadataError(
            f"{name}: the XML declares a document type or entities, which no product does; "
            f"it is not read"
        ) from None
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise MetadataError(
            f"{name}: not whole XML ({error}); cut short or damaged? Fetch it again"
        ) from error
    return builder.close()


def find_all(root: Element, *tags: str) -> list[Element]:
    """Return all elements below `root` with any of the tags, in the document's order."""
    return [element for element in root.iter() if element.tag in tags]


def find_text(root: Element, *tags: str) -> str:
    """Return the text of the first element that has one of the tags and any text, or ``""``."""
    for element in find_all(root, *tags):
        text = (element.text or "").strip()
        if text:
            return text
    return ""


def _refuse(*_: object) -> None:
    raise _Refused


def _local(name: str) -> str:
    return name.rpartition(":")[2]
