"""Documents about a training, written from what lies on disk: every number read, none typed."""
