"""Small Sentinel-2 products with the structure of the real ones, and known counts."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

LABELS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
NATIVE = dict(zip(LABELS, (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 60, 20, 20), strict=True))
LEVEL_2_BANDS = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B09", "B11", "B12"),
}
LEFT, TOP = 300_000, 5_000_040


@dataclass
class SafeSpec:
    """What to write; every part can be changed to something wrong.

    `size` is the side in pixels of 10 m. `mtd` and `tile_xml` map text to be replaced in the XML.
    """

    level: str = "L1C"
    baseline: str = "05.09"
    offset: float | None = -1000
    quantification: float = 10_000
    tiles: tuple[str, ...] = ("T33UUU",)
    size: int = 48
    layout: str = "compact"
    epsg: int = 32633
    mtd: dict[str, str] = field(default_factory=dict)
    tile_xml: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        if self.layout == "old":
            return f"S2A_OPER_PRD_MSI{self.level}_PDMC_20160318T145513_R022_V20160317.SAFE"
        number = self.baseline.replace(".", "")
        return f"S2A_MSI{self.level}_20230821T101021_N{number}_R022_{self.tiles[0]}_2023.SAFE"

    def images(self, tile: str) -> list[tuple[str, str, int]]:
        """Label, path without extension, and resolution of each image."""
        if self.layout == "old":
            stem = f"S2A_OPER_MSI_L1C_TL_SGS__20160317T155600_A003830_{tile}"
            return [(b, f"GRANULE/{stem}_N02.01/IMG_DATA/{stem}_{b}", NATIVE[b]) for b in LABELS]
        folder = f"GRANULE/{self.level}_{tile}_A042640_20230821T101024/IMG_DATA"
        stem = f"{tile}_20230821T101021"
        if self.level == "L1C":
            return [(b, f"{folder}/{stem}_{b}", NATIVE[b]) for b in LABELS]
        images = [
            (b, f"{folder}/R{r}m/{stem}_{b}_{r}m", r)
            for r, labels in LEVEL_2_BANDS.items()
            for b in labels
        ]
        return [*images, ("SCL", f"{folder}/R20m/{stem}_SCL_20m", 20)]

    def granule(self, tile: str) -> str:
        if self.layout == "old":
            return f"S2A_OPER_MSI_L1C_TL_SGS__20160317T155600_A003830_{tile}_N02.01"
        return f"S2A_OPER_MSI_{self.level}_TL_2APS_20230821T120000_A042640_{tile}_N{self.baseline}"


def counts(tile: str, label: str, resolution: int, shape: tuple[int, int]) -> np.ndarray:
    """Counts that differ by tile, band and resolution, with a corner of no data."""
    seed = sum(map(ord, tile + label)) * 100 + resolution
    values = np.random.default_rng(seed).integers(1, 9_000, shape).astype(np.uint16)
    if label == "SCL":
        return (values % 12).astype(np.uint8)
    values[: shape[0] // 4, : shape[1] // 4] = 0
    values[-1, -1] = 65_535
    return values


def write_jp2(
    path: Path, values: np.ndarray, transform: Affine, crs: str | None, block: int = 64
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG",
        width=values.shape[1],
        height=values.shape[0],
        count=1,
        dtype=values.dtype,
        crs=crs,
        transform=transform,
        REVERSIBLE="YES",
        QUALITY="100",
        BLOCKXSIZE=block,
        BLOCKYSIZE=block,
        RESOLUTIONS=4,
    ) as data:
        data.write(values, 1)


def write_safe(parent: Path, spec: SafeSpec | None = None) -> Path:
    """Write a product; return its folder."""
    spec = spec or SafeSpec()
    root = parent / spec.name
    root.mkdir(parents=True)
    for tile in spec.tiles:
        for label, image, resolution in spec.images(tile):
            values = counts(tile, label, resolution, _shape(spec, resolution))
            transform = Affine(resolution, 0, LEFT, 0, -resolution, TOP)
            write_jp2(root / f"{image}.jp2", values, transform, f"EPSG:{spec.epsg}")
        folder = (
            root / Path(spec.images(tile)[0][1]).parts[0] / Path(spec.images(tile)[0][1]).parts[1]
        )
        code = f"S2A_OPER_MTD_L1C_TL_SGS__20160317T155600_A003830_{tile}"
        name = f"{code}.xml" if spec.layout == "old" else "MTD_TL.xml"
        (folder / name).write_text(_replaced(_tile_xml(spec, tile), spec.tile_xml))
    main = f"MTD_MSI{spec.level}.xml"
    if spec.layout == "old":
        main = "S2A_OPER_MTD_SAFL1C_PDMC_20160318T145513_R022_V20160317.xml"
    (root / main).write_text(_replaced(_main_xml(spec), spec.mtd))
    (root / "manifest.safe").write_text(_manifest(spec, main))
    return root


def zip_product(root: Path) -> Path:
    archive = root.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as data:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                data.write(file, file.relative_to(root.parent))
    return archive


def _shape(spec: SafeSpec, resolution: int) -> tuple[int, int]:
    side = -(-spec.size * 10 // resolution)
    return side, side


def _replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the XML"
        text = text.replace(old, new)
    return text


def offset_list(spec: SafeSpec) -> str:
    if spec.offset is None:
        return ""
    outer, inner = {
        "L1C": ("Radiometric_Offset_List", "RADIO_ADD_OFFSET"),
        "L2A": ("BOA_ADD_OFFSET_VALUES_LIST", "BOA_ADD_OFFSET"),
    }[spec.level]
    entries = "".join(
        f'<{inner} band_id="{number}">{spec.offset:g}</{inner}>' for number in range(13)
    )
    return f"<{outer}>{entries}</{outer}>"


def _main_xml(spec: SafeSpec) -> str:
    old = spec.layout == "old"
    image, granule = ("IMAGE_ID", "Granules") if old else ("IMAGE_FILE", "Granule")
    granules = ""
    for tile in spec.tiles:
        names = (Path(i).name if old else i for _, i, _ in spec.images(tile))
        files = "".join(f"<{image}>{name}</{image}>" for name in names)
        granules += (
            f'<{granule} granuleIdentifier="{spec.granule(tile)}" imageFormat="JPEG2000">'
            f"{files}</{granule}>"
        )
    value = f"{spec.quantification:g}"
    quantification = f'<QUANTIFICATION_VALUE unit="none">{value}</QUANTIFICATION_VALUE>'
    if spec.level == "L2A":
        quantification = (
            "<QUANTIFICATION_VALUES_LIST>"
            f'<BOA_QUANTIFICATION_VALUE unit="none">{value}'
            '</BOA_QUANTIFICATION_VALUE><AOT_QUANTIFICATION_VALUE unit="none">1000.0'
            "</AOT_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>"
        )
    level = f"Level-{spec.level[1:]}"
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>2023-08-21T10:10:21.024Z</PRODUCT_START_TIME>
      <PRODUCT_URI>{spec.name}</PRODUCT_URI>
      <PROCESSING_LEVEL>{level}</PROCESSING_LEVEL>
      <PROCESSING_BASELINE>{spec.baseline}</PROCESSING_BASELINE>
      <Datatake><SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME></Datatake>
      <Product_Organisation><Granule_List>{granules}</Granule_List></Product_Organisation>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
      <Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
        <SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>
      {quantification}
      {offset_list(spec)}
    </Product_Image_Characteristics>
  </n1:General_Info>
  <n1:Geometric_Info><Product_Footprint><Product_Footprint><Global_Footprint>
    <EXT_POS_LIST>45 12 45 13 44 13 44 12 45 12 </EXT_POS_LIST>
  </Global_Footprint></Product_Footprint></Product_Footprint></n1:Geometric_Info>
</n1:{level}_User_Product>
"""


def _tile_xml(spec: SafeSpec, tile: str) -> str:
    places = ""
    for resolution in (10, 20, 60):
        rows, columns = _shape(spec, resolution)
        places += (
            f'<Size resolution="{resolution}"><NROWS>{rows}</NROWS><NCOLS>{columns}</NCOLS></Size>'
            f'<Geoposition resolution="{resolution}"><ULX>{LEFT}</ULX><ULY>{TOP}</ULY>'
            f"<XDIM>{resolution}</XDIM><YDIM>-{resolution}</YDIM></Geoposition>"
        )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:{spec.level}_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/Tile.xsd">
  <n1:General_Info><TILE_ID>{spec.granule(tile)}</TILE_ID></n1:General_Info>
  <n1:Geometric_Info>
    <Tile_Geocoding><HORIZONTAL_CS_CODE>EPSG:{spec.epsg}</HORIZONTAL_CS_CODE>{places}
    </Tile_Geocoding>
    <Tile_Angles><Mean_Sun_Angle><ZENITH_ANGLE unit="deg">40.5</ZENITH_ANGLE>
      <AZIMUTH_ANGLE unit="deg">150.25</AZIMUTH_ANGLE></Mean_Sun_Angle></Tile_Angles>
  </n1:Geometric_Info>
</n1:{spec.level}_Tile_ID>
"""


def _manifest(spec: SafeSpec, main: str) -> str:
    images = [f"{i}.jp2" for tile in spec.tiles for _, i, _ in spec.images(tile)]
    objects = "".join(
        f'<dataObject><byteStream><fileLocation href="./{name}" locatorType="URL"/>'
        "</byteStream></dataObject>"
        for name in (main, *images)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1">'
        f"<dataObjectSection>{objects}</dataObjectSection></xfdu:XFDU>"
    )
