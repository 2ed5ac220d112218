"""How a model learns.

training.fit("lenet5-mnist", "runs/lenet5")                   a recipe, into a run folder
training.finetune("lenet5.mnist", "photos", "runs/photos")    a user's own pictures
training.evaluate(classifier, "mnist")                        how often it is right
"""

CHECKPOINT_SECONDS = 60.0  # between two checkpoints within an epoch

_HOME = {"fit": "engine.fit", "finetune": "engine.finetune", "evaluate": "evaluation.evaluate"}


def __getattr__(name):
    # Keras takes seconds to import; a name that is not asked for costs nothing.
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(f"training.{_HOME[name]}"), name)
    raise AttributeError(f"module 'training' has no attribute '{name}'")


__all__ = ["evaluate", "finetune", "fit"]
