"""Augmentation layers and their presets."""
