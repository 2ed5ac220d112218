import keras
import pytest

from training.schedules import CaffeInverse, EpochSteps

CASES = [EpochSteps([0.1, 0.02, 0.0], [2, 3], 10), CaffeInverse(0.01, 1e-4, 0.75)]


def naive_steps(step, values, boundaries, steps_per_epoch):
    """Count the epochs that are done, and the boundaries that they have reached."""
    reached = 0
    for boundary in boundaries:
        if step // steps_per_epoch >= boundary:
            reached += 1
    return values[reached]


@pytest.mark.parametrize(("values", "boundaries", "steps"), [([0.1, 0.02, 0.0], [2, 3], 10), ([1.0, 2.0], [1], 1)])
def test_a_rate_a_stretch_of_epochs(values, boundaries, steps):
    schedule = EpochSteps(values, boundaries, steps)
    for step in range(45):
        assert float(schedule(step)) == pytest.approx(naive_steps(step, values, boundaries, steps))


def test_2012():
    """1,281,167 pictures in batches of 128 are 10,010 steps an epoch; the rates are those of the authors' logs."""
    schedule = EpochSteps([0.01, 0.001, 0.0001, 0.00001], [25, 51, 79], 10_010)
    for epoch, rate in ((0, 1e-2), (24, 1e-2), (25, 1e-3), (50, 1e-3), (51, 1e-4), (78, 1e-4), (79, 1e-5), (90, 1e-5)):
        for step in (0, 10_009):  # the first and the last of the epoch
            assert float(schedule(epoch * 10_010 + step)) == pytest.approx(rate, rel=1e-6)


def test_without_boundaries_the_rate_stays():
    assert [float(EpochSteps([0.5], [], 3)(step)) for step in (0, 2, 3, 1000)] == [0.5] * 4


def test_half_an_epoch():
    schedule = EpochSteps([1.0, 2.0], [0.5], 10)
    assert [float(schedule(step)) for step in (4, 5)] == [1.0, 2.0]


def test_caffes_inverse_policy():
    """As Caffe prints them for examples/mnist/lenet_solver.prototxt."""
    schedule = CaffeInverse(0.01, 0.0001, 0.75)
    for step, rate in ((0, 0.01), (100, 0.00992565), (500, 0.00964069), (5000, 0.00737788), (9900, 0.00596843)):
        assert float(schedule(step)) == pytest.approx(rate, abs=6e-9)


@pytest.mark.parametrize("schedule", CASES, ids=lambda schedule: type(schedule).__name__)
def test_it_comes_back_from_its_configuration(schedule):
    again = keras.optimizers.schedules.deserialize(keras.saving.serialize_keras_object(schedule))
    assert type(again) is type(schedule) and again.get_config() == schedule.get_config()
    assert [float(again(step)) for step in range(40)] == [float(schedule(step)) for step in range(40)]


@pytest.mark.parametrize("schedule", CASES, ids=lambda schedule: type(schedule).__name__)
def test_it_takes_the_iterations_of_an_optimizer(schedule):
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
