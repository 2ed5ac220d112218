"""Layer arithmetic, receptive fields, features and drawings of a model."""
