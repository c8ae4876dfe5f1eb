"""XML of products, and XML that is an attack."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nubila.errors import MetadataError
from nubila.scenes.xml import find_all, find_text, parse_xml

BILLION_LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">
<!ENTITY lol3 "&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;">]><lolz>&lol3;</lolz>"""
EXTERNAL = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'
PARAMETER = b'<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1/x.dtd"> %p;]><a/>'


def test_names_come_without_their_namespaces() -> None:
    text = (
        b'<n1:a xmlns:n1="urn:x" xmlns:xsi="urn:y" xsi:b="1"><n1:c>  one </n1:c><c/><d>2</d></n1:a>'
    )
    root = parse_xml(text, "file.xml")
    assert root.tag == "a"
    assert root.get("b") == "1"
    assert len(find_all(root, "c", "d")) == 3
    assert find_text(root, "c") == "one"
    assert find_text(root, "absent", "d") == "2"
    assert find_text(root, "absent") == ""


@pytest.mark.parametrize("text", [BILLION_LAUGHS, EXTERNAL, PARAMETER, b"<!DOCTYPE a><a/>"])
def test_entities_and_document_types_are_refused(text: bytes) -> None:
    with pytest.raises(MetadataError, match=r"MTD\.xml.*entities"):
        parse_xml(text, "MTD.xml")


def test_a_document_type_in_another_encoding_is_refused() -> None:
    text = EXTERNAL.decode().encode("utf-16")
    with pytest.raises(MetadataError, match="entities"):
        parse_xml(text, "MTD.xml")


@given(st.integers(0, 40))
def test_cut_short(keep: int) -> None:
    text = b"<a><b>text</b><c><d e='1'/></c></a>"
    if keep < len(text):
        with pytest.raises(MetadataError, match=r"MTD\.xml: not whole XML"):
            parse_xml(text[:keep], "MTD.xml")
    else:
        assert parse_xml(text, "MTD.xml").tag == "a"


@given(st.binary(max_size=200))
def test_any_bytes_are_xml_or_a_clear_error(content: bytes) -> None:
    try:
        parse_xml(content, "MTD.xml")
    except MetadataError as error:
        assert "MTD.xml" in str(error)


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nubila.scenes.xml._MOST_BYTES", 10)
    with pytest.raises(MetadataError, match="larger"):
        parse_xml(b"<aaaaaaaaaaa/>", "MTD.xml")


def test_an_unknown_encoding() -> None:
    with pytest.raises(MetadataError, match="not whole XML"):
        parse_xml(b"<?xml version='1.0' encoding='klingon'?><a/>", "MTD.xml")
