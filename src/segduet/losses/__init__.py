"""Named loss terms: plain tensors in, one scalar out."""
