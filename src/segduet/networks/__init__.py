"""Networks that segment and classify in one pass: tensors in, `TaskOutputs` out."""
