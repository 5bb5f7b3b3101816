"""Predictions beside references: scores per case, cohort figures with intervals, targets."""
