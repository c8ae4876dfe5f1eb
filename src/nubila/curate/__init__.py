"""Labels made better: folds, audit, review, pseudo-labels, automatic masks, ensembles."""
