"""Evaluation: predictions, classification metrics and significance tests."""
