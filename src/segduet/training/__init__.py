"""Prepared cases in, checkpoint out: samples, augmentation, objective, steps, resume."""
