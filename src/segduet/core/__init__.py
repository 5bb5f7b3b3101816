"""The nouns every stage speaks in: geometry, cases, labels, plans, predictions, scores."""
