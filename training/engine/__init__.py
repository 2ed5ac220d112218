"""The training loop: fit, fine-tuning, trainer, input pipeline, callbacks, checkpoints and the run directory."""
