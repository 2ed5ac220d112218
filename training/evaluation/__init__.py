"""Evaluation: predictions, metrics and tests of significance."""
