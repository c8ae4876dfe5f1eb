"""Labels made better: folds, audit, review, pseudo-labels, automatic masks, ensembles.

Each step is a module of its own, imported by its name, for some need extras that others do not.
"""

__all__: list[str] = []
