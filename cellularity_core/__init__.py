"""Residual breast tumour cellularity from H&E patches: several methods, explained."""

__version__ = "0.1.0"
