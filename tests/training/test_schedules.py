import keras
import pytest

from training import keras_objects, recipe
from training.schedules import CaffeInverse, EpochSteps

CASES = [EpochSteps([0.1, 0.02, 0.0], [2, 3], 10), CaffeInverse(0.01, 1e-4, 0.75)]


def naive_steps(step, values, boundaries, steps_per_epoch):
    """Count the epochs that are done and the boundaries that they reach."""
    reached = 0
    for boundary in boundaries:
        if step // steps_per_epoch >= boundary:
            reached += 1
    return values[reached]


@pytest.mark.parametrize(("values", "boundaries", "steps"), [([0.1, 0.02, 0.0], [2, 3], 10), ([1.0, 2.0], [1], 1)])
def test_piecewise_constant_rates_in_epochs(values, boundaries, steps):
    schedule = EpochSteps(values, boundaries, steps)
    for step in range(45):
        assert float(schedule(step)) == pytest.approx(naive_steps(step, values, boundaries, steps))


EPOCH = 10_010  # steps: 1,281,167 images in batches of 128


@pytest.mark.parametrize("name, bias_rate", [("alexnet-2012", 1.0), ("alexnet-asrun-2012", 2.0)])
def test_recipes_of_2012(name, bias_rate):
    """The rates of the authors' logs per epoch; for the model as run also of conv1, and the end of the noise."""
    found = recipe.load(name)
    assert (found.epochs, found.batch_size) == (91, 128)
    optimizer = keras_objects.optimizer(found.optimizer, EPOCH, found.epochs)
    assert (optimizer.momentum, optimizer.inner_decay, optimizer.bias_rate) == (0.9, 0.0005, bias_rate)
    rates = {0: 1e-2, 24: 1e-2, 25: 1e-3, 50: 1e-3, 51: 1e-4, 66: 1e-4, 67: 1e-4, 72: 1e-4, 78: 1e-4, 79: 1e-5, 90: 1e-5}
    first = {**rates, 67: 1e-5, 72: 0.0, 78: 0.0, 79: 0.0, 90: 0.0}
    for epoch in rates:
        for step in (0, EPOCH - 1):  # the first and the last of the epoch
            optimizer.iterations.assign(epoch * EPOCH + step)
            assert float(optimizer.learning_rate) == pytest.approx(rates[epoch], rel=1e-6)
            if name == "alexnet-asrun-2012":
                assert float(optimizer.rates["conv1"](epoch * EPOCH + step)) == pytest.approx(first[epoch], rel=1e-6)
    assert set(optimizer.rates) == ({"conv1"} if name == "alexnet-asrun-2012" else set())
    crop, flip, color = found.augmentation
    assert (crop.class_name, flip.config["mode"]) == ("training>RandomCrop", "horizontal")
    assert crop.config["size"] == found.picture.height == (224 if name == "alexnet-asrun-2012" else 227)
    assert found.picture.crop_from == 256
    assert color.config.get("until") == (67 if name == "alexnet-asrun-2012" else None)


def test_without_boundaries_the_rate_is_constant():
    assert [float(EpochSteps([0.5], [], 3)(step)) for step in (0, 2, 3, 1000)] == [0.5] * 4


def test_a_boundary_within_an_epoch():
    schedule = EpochSteps([1.0, 2.0], [0.5], 10)
    assert [float(schedule(step)) for step in (4, 5)] == [1.0, 2.0]


def test_caffes_inverse_policy():
    """Values that Caffe prints for examples/mnist/lenet_solver.prototxt."""
    schedule = CaffeInverse(0.01, 0.0001, 0.75)
    for step, rate in ((0, 0.01), (100, 0.00992565), (500, 0.00964069), (5000, 0.00737788), (9900, 0.00596843)):
        assert float(schedule(step)) == pytest.approx(rate, abs=6e-9)


@pytest.mark.parametrize("schedule", CASES, ids=lambda schedule: type(schedule).__name__)
def test_a_schedule_is_restored_from_its_config(schedule):
    again = keras.optimizers.schedules.deserialize(keras.saving.serialize_keras_object(schedule))
    assert type(again) is type(schedule) and again.get_config() == schedule.get_config()
    assert [float(again(step)) for step in range(40)] == [float(schedule(step)) for step in range(40)]


@pytest.mark.parametrize("schedule", CASES, ids=lambda schedule: type(schedule).__name__)
def test_a_schedule_takes_the_iterations_of_an_optimizer(schedule):
    optimizer = keras.optimizers.SGD(schedule)
    optimizer.iterations.assign(25)
    assert float(optimizer.learning_rate) == pytest.approx(float(schedule(25)), rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (([0.1, 0.2], [1, 2], 3), "one boundary fewer"),
        (([0.1, 0.2, 0.3], [2, 1], 3), "rise"),
        (([0.1, 0.2, 0.3], [2, 2], 3), "rise"),
        (([0.1], [], 0), "steps_per_epoch=0"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EpochSteps(*settings)
