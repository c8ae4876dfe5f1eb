"""The XML of a Sentinel-2 product: main metadata, tile metadata and manifest.

Elements, attributes and their order follow real products of baselines 02.09 to 05.09 and the
Products Specification Document (ESA S2-PDGS-TAS-DI-PSD, issue 14.9). What a product's XML says
about files that a synthetic product has not (masks, datastrip, previews) is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from rasterio.warp import transform

from nubila.raster.grid import Grid

__all__ = ["SafeInfo", "manifest_xml", "product_xml", "tile_xml"]

# Label: resolution, wavelength range and centre in nanometres, solar irradiance in W m-2 um-1 and
# physical gain of Sentinel-2A, as real products state them.
_BANDS: Final = {
    "B1": (60, 412, 456, 442.7, 1884.69, 4.10650374),
    "B2": (10, 456, 533, 492.7, 1959.66, 3.75008945),
    "B3": (10, 538, 583, 559.8, 1823.24, 4.1754601),
    "B4": (10, 646, 684, 664.6, 1512.06, 4.50605),
    "B5": (20, 695, 714, 704.1, 1424.64, 5.18657807),
    "B6": (20, 731, 749, 740.5, 1287.61, 4.84720343),
    "B7": (20, 769, 797, 782.8, 1162.08, 4.50685922),
    "B8": (10, 760, 907, 832.8, 1041.63, 6.14949486),
    "B8A": (20, 837, 881, 864.7, 955.32, 5.10891502),
    "B9": (60, 932, 958, 945.1, 812.92, 8.52263335),
    "B10": (60, 1337, 1412, 1373.5, 367.15, 54.77849145),
    "B11": (20, 1539, 1682, 1613.7, 245.59, 35.11586051),
    "B12": (20, 2078, 2320, 2202.4, 85.25, 106.16764317),
}
_SCENE_CLASSES: Final = (
    "SC_NODATA", "SC_SATURATED_DEFECTIVE", "SC_DARK_FEATURE_SHADOW", "SC_CLOUD_SHADOW",
    "SC_VEGETATION", "SC_NOT_VEGETATED", "SC_WATER", "SC_UNCLASSIFIED", "SC_CLOUD_MEDIUM_PROBA",
    "SC_CLOUD_HIGH_PROBA", "SC_THIN_CIRRUS", "SC_SNOW_ICE",
)  # fmt: skip
_XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
_PSD: Final = "https://psd-14.sentinel2.eo.esa.int/PSD/"


@dataclass(frozen=True)
class SafeInfo:
    """What names and metadata of a product are made from.

    Attributes:
        level: ``L1C`` or ``L2A``.
        baseline: such as ``05.00``.
        offset: RADIO_ADD_OFFSET or BOA_ADD_OFFSET, or None where the baseline has none.
        sensed: start of the datatake.
        made: when the product was generated.
        tile: such as ``T33UUU``.
        orbit, relative_orbit: numbers.
        sun: elevation and azimuth in degrees.
        grids: resolution in metres -> grid.
        images: paths in the product, without extension.
    """

    level: str
    baseline: str
    offset: int | None
    sensed: datetime
    made: datetime
    tile: str
    orbit: int
    relative_orbit: int
    sun: tuple[float, float]
    grids: Mapping[int, Grid]
    images: Sequence[str]

    @property
    def product_id(self) -> str:
        """Name of the product's folder without ``.SAFE``."""
        number = self.baseline.replace(".", "")
        return (
            f"S2A_MSI{self.level}_{_compact(self.sensed)}_N{number}_R{self.relative_orbit:03d}_"
            f"{self.tile}_{_compact(self.made)}"
        )

    @property
    def granule(self) -> str:
        """Name of the granule's folder."""
        return f"{self.level}_{self.tile}_A{self.orbit:06d}_{_compact(self.sensed)}"

    @property
    def tile_id(self) -> str:
        """Full identifier of the granule."""
        return (
            f"S2A_OPER_MSI_{self.level}_TL_NUBI_{_compact(self.made)}_A{self.orbit:06d}_"
            f"{self.tile}_N{self.baseline}"
        )

    @property
    def datastrip_id(self) -> str:
        """Full identifier of the datastrip."""
        return (
            f"S2A_OPER_MSI_{self.level}_DS_NUBI_{_compact(self.made)}_S{_compact(self.sensed)}_"
            f"N{self.baseline}"
        )


def _compact(time: datetime) -> str:
    return time.strftime("%Y%m%dT%H%M%S")


def _stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.024Z")


def _add(parent: Element, tag: str, text: object = None, **attributes: object) -> Element:
    element = SubElement(parent, tag, {k: str(v) for k, v in attributes.items()})
    if text is not None:
        element.text = str(text)
    return element


def _text(root: Element) -> bytes:
    ElementTree.indent(root, "  ")
    head = b'<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'
    body: bytes = ElementTree.tostring(root, encoding="utf-8")
    return head + body + b"\n"


def _root(name: str, schema: str) -> Element:
    """Return a root element in the namespace of its schema, under the prefix ``n1``."""
    address = f"{_PSD}{schema}.xsd"
    ElementTree.register_namespace("n1", address)
    ElementTree.register_namespace("xsi", _XSI)
    return Element(f"{{{address}}}{name}", {f"{{{_XSI}}}schemaLocation": f"{address} {address}"})


def _section(root: Element, name: str) -> Element:
    return SubElement(root, f"{root.tag.partition('}')[0]}}}{name}")


def product_xml(info: SafeInfo, *, cloud_cover: float, nodata_share: float) -> bytes:
    """Return ``MTD_MSIL1C.xml`` or ``MTD_MSIL2A.xml``.

    Args:
        info: the product.
        cloud_cover: per cent of pixels with data.
        nodata_share: per cent of all pixels.
    """
    number = info.level[1:]
    root = _root(f"Level-{number}_User_Product", f"User_Product_Level-{number}")
    general = _section(root, "General_Info")
    _product_info(general, info)
    _image_characteristics(general, info)
    geometric = _section(root, "Geometric_Info")
    footprint = _add(_add(geometric, "Product_Footprint"), "Product_Footprint")
    _add(_add(footprint, "Global_Footprint"), "EXT_POS_LIST", _footprint(info.grids[10]))
    _add(geometric[0], "RASTER_CS_TYPE", "POINT")
    _add(geometric[0], "PIXEL_ORIGIN", 1)
    system = _add(geometric, "Coordinate_Reference_System")
    _add(system, "GEO_TABLES", "EPSG", version=1)
    _add(system, "HORIZONTAL_CS_TYPE", "GEOGRAPHIC")
    quality = _section(root, "Quality_Indicators_Info")
    _add(quality, "Cloud_Coverage_Assessment", f"{cloud_cover:.6f}")
    technical = _add(quality, "Technical_Quality_Assessment")
    _add(technical, "DEGRADED_ANC_DATA_PERCENTAGE", "0.0")
    _add(technical, "DEGRADED_MSI_DATA_PERCENTAGE", "0")
    if info.level == "L2A":
        content = _add(quality, "Image_Content_QI")
        _add(content, "NODATA_PIXEL_PERCENTAGE", f"{nodata_share:.6f}")
    return _text(root)


def _product_info(general: Element, info: SafeInfo) -> None:
    product = _add(general, "Product_Info")
    number = info.level[1:]
    _add(product, "PRODUCT_START_TIME", _stamp(info.sensed))
    _add(product, "PRODUCT_STOP_TIME", _stamp(info.sensed))
    _add(product, "PRODUCT_URI", f"{info.product_id}.SAFE")
    _add(product, "PROCESSING_LEVEL", f"Level-{number}")
    _add(product, "PRODUCT_TYPE", f"S2MSI{number}")
    _add(product, "PROCESSING_BASELINE", info.baseline)
    _add(product, "GENERATION_TIME", info.made.strftime("%Y-%m-%dT%H:%M:%S.000000Z"))
    _add(product, "PREVIEW_IMAGE_URL", "Not applicable")
    _add(product, "PREVIEW_GEO_INFO", "Not applicable")
    name = f"GS2A_{_compact(info.sensed)}_{info.orbit:06d}_N{info.baseline}"
    datatake = _add(product, "Datatake", datatakeIdentifier=name)
    _add(datatake, "SPACECRAFT_NAME", "Sentinel-2A")
    _add(datatake, "DATATAKE_TYPE", "INS-NOBS")
    _add(datatake, "DATATAKE_SENSING_START", _stamp(info.sensed))
    _add(datatake, "SENSING_ORBIT_NUMBER", info.relative_orbit)
    _add(datatake, "SENSING_ORBIT_DIRECTION", "DESCENDING")
    query = _add(product, "Query_Options", completeSingleTile="true")
    _add(query, "PRODUCT_FORMAT", "SAFE_COMPACT")
    organisation = _add(product, "Product_Organisation")
    granule = _add(
        _add(organisation, "Granule_List"),
        "Granule",
        datastripIdentifier=info.datastrip_id,
        granuleIdentifier=info.tile_id,
        imageFormat="JPEG2000",
    )
    for image in info.images:
        _add(granule, "IMAGE_FILE", image)


def _image_characteristics(general: Element, info: SafeInfo) -> None:
    image = _add(general, "Product_Image_Characteristics")
    for name, value in (("NODATA", 0), ("SATURATED", 65535)):
        special = _add(image, "Special_Values")
        _add(special, "SPECIAL_VALUE_TEXT", name)
        _add(special, "SPECIAL_VALUE_INDEX", value)
    order = _add(image, "Image_Display_Order")
    for name, value in (("RED", 3), ("GREEN", 2), ("BLUE", 1)):
        _add(order, f"{name}_CHANNEL", value)
    _calibration(image, info)
    conversion = _add(image, "Reflectance_Conversion")
    _add(conversion, "U", "0.998456468000941")
    irradiance = _add(conversion, "Solar_Irradiance_List")
    spectra = _add(image, "Spectral_Information_List")
    for number, (label, (size, low, high, centre, sun, _)) in enumerate(_BANDS.items()):
        _add(irradiance, "SOLAR_IRRADIANCE", sun, bandId=number, unit="W/m²/µm")
        spectrum = _add(spectra, "Spectral_Information", bandId=number, physicalBand=label)
        _add(spectrum, "RESOLUTION", size)
        wavelength = _add(spectrum, "Wavelength")
        for name, length in (("MIN", low), ("MAX", high), ("CENTRAL", centre)):
            _add(wavelength, name, length, unit="nm")
    for number, band in enumerate(_BANDS.values()):
        _add(image, "PHYSICAL_GAINS", band[5], bandId=number)
    _add(image, "REFERENCE_BAND", 3)
    if info.level == "L2A":
        classes = _add(image, "Scene_Classification_List")
        for number, name in enumerate(_SCENE_CLASSES):
            entry = _add(classes, "Scene_Classification_ID")
            _add(entry, "SCENE_CLASSIFICATION_TEXT", name)
            _add(entry, "SCENE_CLASSIFICATION_INDEX", number)


def _calibration(image: Element, info: SafeInfo) -> None:
    if info.level == "L1C":
        _add(image, "QUANTIFICATION_VALUE", 10000, unit="none")
        name, tag = "Radiometric_Offset_List", "RADIO_ADD_OFFSET"
    else:
        values = _add(image, "QUANTIFICATION_VALUES_LIST")
        _add(values, "BOA_QUANTIFICATION_VALUE", 10000, unit="none")
        _add(values, "AOT_QUANTIFICATION_VALUE", "1000.0", unit="none")
        _add(values, "WVP_QUANTIFICATION_VALUE", "1000.0", unit="cm")
        name, tag = "BOA_ADD_OFFSET_VALUES_LIST", "BOA_ADD_OFFSET"
    if info.offset is not None:
        offsets = _add(image, name)
        for number in range(len(_BANDS)):
            _add(offsets, tag, info.offset, band_id=number)


def _footprint(grid: Grid) -> str:
    """Return the corners as latitude and longitude, closed, as products list them."""
    rows, columns = grid.shape
    pixels = ((0, 0), (columns, 0), (columns, rows), (0, rows), (0, 0))
    xs, ys = zip(*(grid.transform * p for p in pixels), strict=True)
    longitudes, latitudes = transform(grid.crs, "EPSG:4326", xs, ys)
    return "".join(f"{b:.9f} {a:.9f} " for a, b in zip(longitudes, latitudes, strict=True))


def tile_xml(info: SafeInfo, *, cloud_cover: float) -> bytes:
    """Return ``MTD_TL.xml``; the arguments are those of `product_xml`."""
    number = info.level[1:]
    root = _root(f"Level-{number}_Tile_ID", f"S2_PDI_Level-{number}_Tile_Metadata")
    general = _section(root, "General_Info")
    _add(general, "TILE_ID", info.tile_id, metadataLevel="Brief")
    _add(general, "DATASTRIP_ID", info.datastrip_id, metadataLevel="Standard")
    _add(general, "DOWNLINK_PRIORITY", "NOMINAL", metadataLevel="Standard")
    _add(general, "SENSING_TIME", _stamp(info.sensed), metadataLevel="Standard")
    archiving = _add(general, "Archiving_Info", metadataLevel="Expertise")
    _add(archiving, "ARCHIVING_CENTRE", "NUBI")
    _add(archiving, "ARCHIVING_TIME", _stamp(info.made))
    geometric = _section(root, "Geometric_Info")
    _geocoding(_add(geometric, "Tile_Geocoding", metadataLevel="Brief"), info)
    _angles(_add(geometric, "Tile_Angles", metadataLevel="Standard"), info.sun)
    quality = _section(root, "Quality_Indicators_Info")
    content = _add(quality, "Image_Content_QI", metadataLevel="Standard")
    _add(content, "CLOUDY_PIXEL_PERCENTAGE", f"{cloud_cover:.6f}")
    _add(content, "DEGRADED_MSI_DATA_PERCENTAGE", 0)
    return _text(root)


def _geocoding(geocoding: Element, info: SafeInfo) -> None:
    crs = info.grids[10].crs
    code = int(crs.to_epsg()) if crs is not None else 0
    zone = f"{code % 100}{'N' if code < 32700 else 'S'}"
    _add(geocoding, "HORIZONTAL_CS_NAME", f"WGS84 / UTM zone {zone}")
    _add(geocoding, "HORIZONTAL_CS_CODE", f"EPSG:{code}")
    for resolution, grid in info.grids.items():
        size = _add(geocoding, "Size", resolution=resolution)
        _add(size, "NROWS", grid.shape[0])
        _add(size, "NCOLS", grid.shape[1])
    for resolution, grid in info.grids.items():
        corner = _add(geocoding, "Geoposition", resolution=resolution)
        _add(corner, "ULX", f"{grid.transform.c:.0f}")
        _add(corner, "ULY", f"{grid.transform.f:.0f}")
        _add(corner, "XDIM", resolution)
        _add(corner, "YDIM", -resolution)


def _angles(angles: Element, sun: tuple[float, float]) -> None:
    """Sun angles on a grid of 5 km and in the mean; a view from the zenith."""
    zenith, azimuth = 90 - sun[0], sun[1]
    grid = _add(angles, "Sun_Angles_Grid")
    for name, value in (("Zenith", zenith), ("Azimuth", azimuth)):
        part = _add(grid, name)
        _add(part, "COL_STEP", 5000, unit="m")
        _add(part, "ROW_STEP", 5000, unit="m")
        values = _add(part, "Values_List")
        for _ in range(23):
            _add(values, "VALUES", " ".join([f"{value:.6g}"] * 23))
    mean = _add(angles, "Mean_Sun_Angle")
    _add(mean, "ZENITH_ANGLE", f"{zenith:.12g}", unit="deg")
    _add(mean, "AZIMUTH_ANGLE", f"{azimuth:.12g}", unit="deg")
    views = _add(angles, "Mean_Viewing_Incidence_Angle_List")
    for number in range(len(_BANDS)):
        view = _add(views, "Mean_Viewing_Incidence_Angle", bandId=number)
        _add(view, "ZENITH_ANGLE", "0", unit="deg")
        _add(view, "AZIMUTH_ANGLE", "0", unit="deg")


def manifest_xml(folder: Path, info: SafeInfo) -> bytes:
    """Return ``manifest.safe``, listing every file that is in the product's folder."""
    names = {
        "xfdu": "urn:ccsds:schema:xfdu:1",
        "safe": "http://www.esa.int/safe/sentinel/1.1",
        "gml": "http://www.opengis.net/gml",
    }
    for prefix, address in names.items():
        ElementTree.register_namespace(prefix, address)
    kind = f"esa/safe/sentinel/1.1/sentinel-2/msi/archive_{info.level.lower()}_user_product"
    root = Element(f"{{{names['xfdu']}}}XFDU", {"version": kind})
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    unit_tag = f"{{{names['xfdu']}}}contentUnit"
    unit = _add(_add(root, "informationPackageMap"), unit_tag, unitType="Product")
    wrap = _add(root, "metadataSection")
    period = _add(wrap, "metadataObject", ID="acquisitionPeriod", category="DMD")
    data = _add(_add(period, "metadataWrap", mimeType="text/xml"), "xmlData")
    start = _add(data, f"{{{names['safe']}}}acquisitionPeriod")
    _add(start, f"{{{names['safe']}}}startTime", _stamp(info.sensed))
    objects = _add(root, "dataObjectSection")
    for number, file in enumerate(files):
        key = f"{file.stem}_{number}_Data"
        _add(_add(unit, unit_tag, ID=f"{file.stem}_{number}_Unit"), "dataObjectPointer",
             dataObjectID=key)  # fmt: skip
        entry = _add(objects, "dataObject", ID=key)
        kind = "text/xml" if file.suffix == ".xml" else "application/octet-stream"
        stream = _add(entry, "byteStream", mimeType=kind, size=file.stat().st_size)
        href = f"./{file.relative_to(folder).as_posix()}"
        _add(stream, "fileLocation", href=href, locatorType="URL")
        _add(stream, "checksum", _checksum(file), checksumName="SHA3-256")
    return _text(root)


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha3_256").hexdigest()
