"""Layouts: where each collection keeps images and masks, as rows of a manifest.

One module a collection, with a function ``rows(root)`` that gives the cells of a manifest for each
sample it finds a trace of: an image without its mask gives a row too, and so does a file that a
listing names and that is absent, so that `datasets.check` can name them.
"""

__all__: list[str] = []
