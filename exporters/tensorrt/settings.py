"""Settings of a bundle: those of its engine, and checked options of INT8."""

from exporters.options import BoardOptions
from exporters.planner import settings as planning
from exporters.precision import Precision
from zoo.errors import ZooError


def resolve(options: BoardOptions) -> planning.Settings:
    """Return the settings of the engine that a bundle builds; nothing is loaded or computed.

    Raises:
        ZooError: if the target does not support an option, or options contradict each other.
    """
    settings = planning.resolve(options)
    if settings.precision == Precision.INT8:
        if options.calibration is None:
            raise ZooError(
                "INT8 needs calibration images; give a folder of some hundred typical images with --calibration FOLDER"
            )
        if settings.calibration_table and options.exclude:
            raise ZooError(
                "--exclude needs QuantizeLinear, which this DLA does not take: its calibration table covers all layers"
            )
        if settings.calibration_table and options.full_range is not None:
            raise ZooError(
                "--full-range is for weights in INT8; beside the calibration table for this DLA, they stay float32"
            )
        return settings
    int8 = {
        "calibration": options.calibration is not None,
        "method": options.method is not None,
        "exclude": options.exclude,
        "full-range": options.full_range is not None,
    }
    for name, given in int8.items():
        if given:
            raise ZooError(f"--{name} is for --precision int8; {settings.precision} needs no calibration")
    return settings
