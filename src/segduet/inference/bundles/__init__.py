"""Bundles: a model ready to run without PyTorch, as a folder or one archive (B12, B20)."""
