"""segduet: one network, two answers - segmentation and case classification on top of nnU-Net v2."""

from segduet.core.version import __version__

__all__ = ["__version__"]
