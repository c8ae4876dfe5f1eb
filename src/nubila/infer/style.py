"""The QGIS style of a mask file: a name and a colour for each value."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from nubila.infer.legend import Legend

__all__ = ["qml_style"]


def qml_style(legend: Legend) -> str:
    """Return a QGIS layer style (QML) that paints the values of the legend, no data unpainted.

    QGIS reads it by itself where it lies beside the raster under the same name.
    """
    entries = "\n".join(
        f'        <paletteEntry value={quoteattr(str(int(e.value)))} alpha="255" '
        f'color="#{e.colour[0]:02x}{e.colour[1]:02x}{e.colour[2]:02x}" label={quoteattr(e.name)}/>'
        for e in legend.entries
    )
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.28.0" styleCategories="Symbology">
  <pipe>
    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">
      <rasterTransparency/>
      <colorPalette>
{entries}
      </colorPalette>
    </rasterrenderer>
    <brightnesscontrast brightness="0" contrast="0" gamma="1"/>
    <huesaturation saturation="0" grayscaleMode="0"/>
    <rasterresampler maxOversampling="2"/>
  </pipe>
  <blendMode>0</blendMode>
</qgis>
"""
