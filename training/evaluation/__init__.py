"""Evaluation: predictions and classification metrics."""
