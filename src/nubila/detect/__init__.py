"""Detectors of clouds, ours and others, as one type."""
