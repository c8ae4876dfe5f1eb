"""The xarray accessor: ``dataset.nubila.mask()`` for what odc-stac and rioxarray load.

    >>> import nubila.xarray                                        # doctest: +SKIP
    >>> dataset = odc.stac.load(items, bands=["blue", "green", "red", "nir"], chunks={})
    >>> mask = dataset.nubila.mask(scale=1e-4, nodata=0)
    >>> clear = dataset.where(mask == 0)

Arrays in memory give arrays in memory; Dask arrays stay lazy, and how they are chunked leaves no
trace in the mask.
"""

from nubila.errors import MissingExtraError

try:
    from nubila.xarray.accessor import NubilaAccessor
except ModuleNotFoundError as error:
    if error.name != "xarray":
        raise
    raise MissingExtraError("xarray", extra="xarray") from error

__all__ = ["NubilaAccessor"]
