"""Training, fine-tuning and evaluation.

training.fit("lenet5-mnist", "runs/lenet5")                   train from a recipe, into a run directory
training.finetune("lenet5.mnist", "photos", "runs/photos")    fine-tune on your own images
training.evaluate(classifier, "mnist")                        measure the error
"""

CHECKPOINT_SECONDS = 60.0  # between checkpoints within an epoch

_MODULES = {"fit": "engine.fit", "finetune": "engine.finetune", "evaluate": "evaluation.evaluate"}


def __getattr__(name: str):
    # Importing Keras takes seconds, so a function is imported when it is first used.
    if name in _MODULES:
        import importlib

        return getattr(importlib.import_module(f"training.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'training' has no attribute '{name}'")


__all__ = ["evaluate", "finetune", "fit"]
