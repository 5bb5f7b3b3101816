"""Generated cases with known truth: CT-like pancreas, whole abdomen, nerve ultrasound (F11).

The model and its parameters are described in docs/reference/phantoms.md.
"""
