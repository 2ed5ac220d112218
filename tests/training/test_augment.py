import keras
import numpy as np
import pytest

from training.augment import AffineDistortion, BatchShift


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).uniform(0, 255, (8, 12, 10, 1)).astype("float32")


def draws(seed, batch):
    """The random numbers that a layer with this seed draws first: (6, batch) from ±1."""
    return np.asarray(keras.random.uniform((6, batch), -1.0, 1.0, seed=keras.random.SeedGenerator(seed)))


def sample(picture, x, y):
    """Read a picture at a place between its pixels; outside it is black."""
    height, width = picture.shape
    left, top = int(np.floor(x)), int(np.floor(y))
    total = 0.0
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= row < height and 0 <= column < width:
            total += picture[row, column] * (1 - abs(x - column)) * (1 - abs(y - row))
    return total


def distorted(picture, matrix, shift):
    """Each pixel is read where the matrix, about the centre, and the shift say: the plain loop."""
    height, width = picture.shape
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    result = np.empty_like(picture)
    for row in range(height):
        for column in range(width):
            x, y = matrix @ (np.array([column, row]) - centre) + centre + shift
            result[row, column] = sample(picture, x, y)
    return result


NONE = {"translation": 0.0, "scaling": 0.0, "squeezing": 0.0, "shearing": 0.0, "rotation": 0.0}


def test_no_amounts_no_change(pictures):
    np.testing.assert_allclose(AffineDistortion(**NONE, seed=1)(pictures, training=True), pictures, atol=1e-3)


@pytest.mark.parametrize("layer", [AffineDistortion(seed=1), BatchShift(seed=1)], ids=lambda layer: type(layer).__name__)
def test_outside_of_training_nothing_happens(layer, pictures):
    np.testing.assert_array_equal(layer(pictures), pictures)
    np.testing.assert_array_equal(layer(pictures, training=False), pictures)
    assert not np.array_equal(layer(pictures, training=True), pictures)


@pytest.mark.parametrize(
    "amounts",
    [
        {"translation": 3.0},
        {"scaling": 0.3},
        {"squeezing": 0.3},
        {"shearing": 0.4},
        {"rotation": 0.5},
        {"translation": 2.0, "scaling": 0.1, "squeezing": 0.1, "shearing": 0.2, "rotation": 0.2},
    ],
    ids=lambda amounts: "+".join(amounts),
)
def test_a_distortion_is_the_affine_map_of_its_random_numbers(amounts, pictures):
    amounts = {**NONE, **amounts}
    given = np.asarray(AffineDistortion(**amounts, seed=5)(pictures, training=True))
    for number, draw in enumerate(draws(5, len(pictures)).T):
        scale = 1 + amounts["scaling"] * draw[0]
        squeeze = 1 + amounts["squeezing"] * draw[1]
        angle = amounts["rotation"] * draw[3]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shear_and_scale = np.array([[scale * squeeze, amounts["shearing"] * draw[2]], [0, scale / squeeze]])
        expected = distorted(pictures[number, ..., 0], shear_and_scale @ turn, amounts["translation"] * draw[4:])
        np.testing.assert_allclose(given[number, ..., 0], expected, atol=0.05)


def test_a_shear_moves_rows_sideways_in_proportion_to_their_height():
    bar = np.zeros((64, 21, 21, 1), "float32")
    bar[:, :, 10] = 255  # an upright bar
    sheared = np.asarray(AffineDistortion(**{**NONE, "shearing": 0.3}, seed=2)(bar, training=True))[..., 0]
    mass = sheared.sum(axis=2)
    centre = (sheared * np.arange(21)).sum(axis=2) / mass  # of each row
    slopes = (centre[:, -1] - centre[:, 0]) / 20
    assert np.abs(centre[:, 10] - 10).max() < 1e-3  # the middle row stays
    np.testing.assert_allclose(centre - 10, slopes[:, None] * (np.arange(21) - 10), atol=1e-2)
    assert slopes.min() < -0.2 and slopes.max() > 0.2 and np.abs(slopes).max() <= 0.3 + 1e-3


def test_brightness_stays_within_0_and_255():
    pictures = np.random.default_rng(1).choice([0.0, 255.0], (32, 28, 28, 1)).astype("float32")
    given = np.asarray(AffineDistortion(rotation=0.3, seed=3)(pictures, training=True))
    assert given.shape == pictures.shape
    assert given.min() >= 0 and given.max() <= 255 + 1e-3


def test_each_picture_has_its_own_map_and_each_call_new_ones():
    same = np.repeat(np.random.default_rng(2).uniform(0, 255, (1, 12, 10, 1)), 6, axis=0).astype("float32")
    layer = AffineDistortion(seed=4)
    first, second = (np.asarray(layer(same, training=True)) for _ in range(2))
    every = np.concatenate([first, second]).reshape(12, -1)
    assert len(np.unique(every, axis=0)) == 12


@pytest.mark.parametrize("kind", [AffineDistortion, BatchShift])
def test_a_seed_decides_and_a_saved_layer_keeps_it(kind, pictures):
    first = np.asarray(kind(seed=7)(pictures, training=True))
    again = kind.from_config(kind(seed=7).get_config())
    np.testing.assert_array_equal(again(pictures, training=True), first)
    others = [np.asarray(kind(seed=seed)(pictures, training=True)) for seed in range(8, 14)]
    assert any(not np.array_equal(other, first) for other in others)


@pytest.mark.parametrize("kind", [AffineDistortion, BatchShift])
def test_the_state_of_the_random_numbers_is_a_variable(kind, pictures):
    """What a checkpoint restores, so that a resumed run draws the numbers that it would have drawn."""
    layer = kind(seed=7)
    (state,) = layer.variables
    kept = state.numpy().copy()
    first = np.asarray(layer(pictures, training=True))
    layer(pictures, training=True)
    assert not np.array_equal(state, kept)
    state.assign(kept)
    np.testing.assert_array_equal(layer(pictures, training=True), first)


def shifted(pictures, down, right):
    """Move by whole pixels, black coming in."""
    result = np.zeros_like(pictures)
    _, height, width, _ = pictures.shape
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                result[:, row, column] = pictures[:, row - down, column - right]
    return result


def test_a_batch_shift_is_one_of_the_shifts_for_all_alike_and_each_as_often(pictures):
    layer = BatchShift(pixels=1, seed=1)
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    expected = [shifted(pictures, *shift) for shift in shifts]
    counts = dict.fromkeys(shifts, 0)
    calls = 900
    for _ in range(calls):
        given = np.asarray(layer(pictures, training=True))
        (found,) = [shift for shift, each in zip(shifts, expected, strict=True) if np.array_equal(given, each)]
        counts[found] += 1
    mean = calls / len(shifts)
    chi_squared = sum((count - mean) ** 2 / mean for count in counts.values())
    assert chi_squared < 26.1  # 8 degrees of freedom: exceeded once in a thousand, and the seed is fixed
