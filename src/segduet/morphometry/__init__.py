"""Label maps in, named measurements out: volumes, shapes, walls, intensities, ratios (B07)."""
