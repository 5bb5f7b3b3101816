"""From named loss terms to the one scalar that is minimised."""
