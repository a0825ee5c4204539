"""Faces that voices typically have: Speech2Face as a cached, measured, repeatable pipeline."""

__version__ = "0.1.0"
