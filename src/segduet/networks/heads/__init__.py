"""Heads: from the features of a window, by sums over its voxels, to the outputs of one task."""
