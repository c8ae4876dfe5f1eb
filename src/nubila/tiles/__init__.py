"""The tile store: labelled images cut once, read many times."""
