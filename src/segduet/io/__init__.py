"""Bytes to volumes and back: NIfTI, NRRD, MHA, PNG, BMP, TIFF and MATLAB files."""
