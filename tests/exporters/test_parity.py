import keras
import numpy as np
import pytest

import exporters
from exporters import parity
from exporters.parity import Candidate, CannotRun, FileSpec
from zoo.errors import CheckFailed

PICTURES = np.random.default_rng(0).integers(0, 256, (70, 4, 3, 1), "uint8")
TEMPLATES = np.random.default_rng(1).normal(size=(12, 5)).astype("float32")


def model(pictures):
    return np.asarray(pictures, "float32").reshape(len(pictures), -1) @ TEMPLATES / 255


def compare(*runs, reference=model, pictures=PICTURES, **options):
    """Compare functions with a model, as runtimes "first", "second" and so on."""
    names = ("first", "second", "third")
    candidates = {name: Candidate(lambda run=run: run) for name, run in zip(names, runs, strict=False)}
    spec = {name: options.pop(name) for name in ("precision", "dtype", "batches") if name in options}
    return parity.compare(reference, candidates, pictures, FileSpec(**spec), **options)


def refused(run, words, **options):
    report = compare(run, **options)
    assert not report.passed
    with pytest.raises(CheckFailed, match=words):
        report.raise_if_failed()
    return report


def fixed(scores):
    """A function that gives these scores, a row for each of `PICTURES`."""
    rows = {picture.tobytes(): row for picture, row in zip(PICTURES, np.asarray(scores), strict=True)}
    return lambda pictures: np.stack([rows[picture.tobytes()] for picture in pictures])


def wrong_at(numbers, change):
    """The model, but for the scores of the pictures of these numbers, which a function changes in place."""
    scores = model(PICTURES)
    for number in numbers:
        change(scores[number])
    return fixed(scores)


def test_equal_function_passes():
    report = compare(model, model)
    assert report.passed and report.problems == ()
    assert (report.images, report.batches, report.runtimes) == (70, (1, 3, 64), ("first", "second"))
    assert (report.flipped_labels, report.ignored_flips, report.agreement) == (0, 0, 1.0)
    assert report.largest_difference < 1e-6
    report.raise_if_failed()
    assert "70 images in batches of 1, 3, 64" in report.lines()[0]


def test_rounding_error_passes_and_is_measured():
    report = compare(lambda pictures: model(pictures) + np.float32(5e-5))
    assert report.passed
    assert report.largest_difference == pytest.approx(5e-5, rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [lambda scores: scores[:, :-1], lambda scores: scores[..., None], lambda scores: scores.T, lambda scores: scores[:1]],
    ids=["a class less", "another axis", "transposed", "one row only"],
)
def test_other_shape_fails(wrong):
    refused(lambda pictures: wrong(model(pictures)), "first: a batch of 64 gives .*, the model")


def test_other_dtype_fails():
    def half(pictures):
        return model(pictures).astype("float16")

    refused(half, "gives float16 instead of float32", precision="fp16")
    refused(model, "gives float32 instead of float16", precision="fp16", dtype="float16")
    assert compare(half, precision="fp16", dtype="float16").passed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("precision", parity.TOLERANCES)
def test_single_non_finite_score_fails(value, precision):
    def change(scores):
        scores[3] = value

    refused(wrong_at([65], change), "batch of 64 gives scores that are not finite", precision=precision)


def test_model_with_non_finite_scores_fails():
    def broken(pictures):
        scores = model(pictures)
        scores[:, 2] = np.nan
        return scores

    def run(pictures):
        scores = model(pictures)
        scores[:, 2] = 100  # and the same argmax as NaN has
        return scores

    assert not compare(run, reference=broken).passed
    assert not compare(broken, reference=broken).passed


@pytest.mark.parametrize("number", (0, 33, 69))
@pytest.mark.parametrize(("precision", "passes", "fails"), [("fp32", 5e-5, 0.002), ("fp16", 1e-3, 0.1)])
def test_one_value_beyond_the_tolerance_fails(number, precision, passes, fails):
    def off(error):
        def change(scores):
            scores[scores.argmin()] += error

        return wrong_at([number], change)

    assert compare(off(passes), precision=precision).passed
    refused(off(fails), f"a batch of 64 differs by up to {fails}", precision=precision)


def test_tolerance_scales_with_the_scores_of_the_same_image():
    """A score near 0 may be off by what is nothing to the others of its picture, but not by what is nothing to another's."""
    large, small = [9000.0, 3.0, 0.0], [2.0, 1.0, 0.0]
    scores = np.tile(np.float32(small), (70, 1))
    scores[::2] = large
    off = scores.copy()
    off[0, 2] += 0.5
    assert compare(fixed(off), reference=fixed(scores)).passed
    off[1, 2] += 0.5
    refused(fixed(off), "differs by up to 0.5", reference=fixed(scores))


def draw(margin, scale=1.0):
    """Scores of which the first two are a margin apart, and those that have the two exchanged for some pictures."""
    scores = np.tile(np.float32([scale, scale - margin, 0.0]), (70, 1))

    def exchanged(numbers):
        flipped = scores.copy()
        flipped[numbers] = flipped[numbers][:, [1, 0, 2]]
        return fixed(flipped)

    return fixed(scores), exchanged


@pytest.mark.parametrize(("precision", "margin"), [("fp32", 2e-5), ("fp16", 5e-3), ("fp16", 0.0)])
def test_flip_between_tied_classes_is_counted_and_passes(precision, margin):
    reference, exchanged = draw(margin)
    report = compare(exchanged([0, 30, 69]), reference=reference, precision=precision)
    flips = 3 if margin else 0
    assert report.passed and (report.flipped_labels, report.ignored_flips) == (0, flips)
    assert report.agreement == pytest.approx(1 - flips / 70)


def test_flips_between_equal_scores_pass():
    scores = np.zeros((70, 5), "float32")
    noise = np.random.default_rng(2).normal(0, 1e-7, scores.shape).astype("float32")
    report = compare(fixed(noise), reference=fixed(scores))
    assert report.passed and report.ignored_flips > 35


@pytest.mark.parametrize(("precision", "margin"), [("fp32", 0.01), ("fp16", 0.05)])
def test_flips_with_a_large_margin_fail(precision, margin):
    reference, exchanged = draw(margin)
    for numbers in ([30], [0, 5, 69], list(range(70))):
        report = refused(exchanged(numbers), f"{len(numbers)} labels differ", reference=reference, precision=precision)
        assert (report.flipped_labels, report.ignored_flips) == (len(numbers), 0)


def test_flip_fails_although_every_value_is_within_tolerance():
    """Each score moves by three quarters of the tolerance: the model's margin was more than all of it."""
    reference, _ = draw(3e-4)
    moved = np.tile(np.float32([1 - 1.6e-4, 1 - 1.4e-4, 0]), (70, 1))
    report = refused(fixed(moved), "70 labels differ", reference=reference)
    assert len(report.problems) == 1


def test_label_is_the_argmax_of_the_last_axis():
    """Of (batch, places, classes) each place has a label; of a single class there is no other."""
    scores = np.random.default_rng(3).normal(size=(70, 4, 6)).astype("float32")
    assert compare(fixed(scores), reference=fixed(scores)).passed
    other = scores.copy()
    other[7, 2] = np.roll(other[7, 2], 1)
    assert refused(fixed(other), "1 labels differ", reference=fixed(scores)).flipped_labels == 1
    assert compare(fixed(scores[:, 0, :1]), reference=fixed(scores[:, 0, :1])).passed


def test_batch_frozen_to_one_fails():
    refused(lambda pictures: model(pictures[:1]), r"a batch of 3 gives \(1, 5\), the model \(3, 5\)")

    def raises(pictures):
        if len(pictures) != 1:
            raise RuntimeError("Got invalid dimensions for input\nand more")
        return model(pictures)

    report = refused(raises, "batch of 3 fails: Got invalid dimensions")
    assert [problem.partition(" fails")[0] for problem in report.problems] == ["first: a batch of 64", "first: a batch of 3"]


def test_normalization_over_the_batch_fails():
    refused(lambda pictures: model(pictures) - model(pictures).mean(axis=0), "differs")


def test_static_batch_is_the_only_one_run():
    def static(pictures):
        assert len(pictures) == 16
        return model(pictures)

    assert compare(static, batches=(16,)).passed
    assert not compare(static).passed


def test_every_image_is_compared_and_few_images_repeat_in_a_batch():
    for count in (70, 2):
        seen, sizes = [], set()

        def run(pictures, seen=seen, sizes=sizes):
            sizes.add(len(pictures))
            seen.extend(picture.tobytes() for picture in pictures)
            return model(pictures)

        report = compare(run, pictures=PICTURES[:count])
        assert report.passed and report.images == count and sizes == {1, 3, 64}
        assert set(seen) == {picture.tobytes() for picture in PICTURES[:count]}


def test_model_runs_once_for_all_runtimes():
    sizes = []

    def counted(pictures):
        sizes.append(len(pictures))
        return model(pictures)

    assert compare(model, model, model, reference=counted).passed
    assert sizes == [64, 64]


def test_slow_runtime_runs_few_images_and_can_fail():
    batches = []

    def slow(pictures):
        batches.append(pictures)
        return model(pictures)

    candidates = {"fast": Candidate(lambda: model), "slow": Candidate(lambda: slow, most=3)}
    assert parity.compare(model, candidates, PICTURES).runtimes == ("fast", "slow")
    assert [len(pictures) for pictures in batches] == [3, 1, 1, 1]
    for pictures in (batches[0], np.concatenate(batches[1:])):  # from the first to the last, where the strange ones are
        np.testing.assert_array_equal(pictures, PICTURES[[0, 34, 69]])
    report = parity.compare(model, candidates, PICTURES, FileSpec(batches=(64,)))
    assert report.passed and report.not_run == {"slow": "too slow for batches of 64"}
    wrong = {**candidates, "slow": Candidate(lambda: lambda pictures: model(pictures) + 1, most=3)}
    assert not parity.compare(model, wrong, PICTURES).passed


def test_runtime_that_cannot_run_is_reported_and_a_wrong_one_fails():
    def cannot_open():
        raise CannotRun("no operator Einsum")

    def cannot_run(pictures):
        raise CannotRun("no batches")

    candidates = {"a": Candidate(lambda: model), "b": Candidate(cannot_open), "c": Candidate(lambda: cannot_run)}
    report = parity.compare(model, candidates, PICTURES)
    assert report.passed and report.runtimes == ("a",)
    assert report.not_run == {"b": "no operator Einsum", "c": "no batches"}
    assert "not verified in b: no operator Einsum" in report.lines()
    report = compare(model, lambda pictures: model(pictures) + 1)
    assert not report.passed and all(problem.startswith("second: ") for problem in report.problems)


def test_only_one_runtime_is_open_at_a_time():
    """Each holds a copy of the weights."""
    events = []

    class Session:
        def __init__(self, name):
            self.name = name
            events.append(f"{name} opens")

        def __call__(self, pictures):
            return model(pictures)

        def __del__(self):
            events.append(f"{self.name} closes")

    parity.compare(model, {name: Candidate(lambda name=name: Session(name)) for name in "ab"}, PICTURES)
    assert events == ["a opens", "a closes", "b opens", "b closes"]


def test_int8_can_differ_on_one_image_but_not_on_all():
    """The error is a root of a mean of squares, over the spread of the scores of a picture: here 0.2 by 1 or so."""
    scores = model(PICTURES)
    spread = np.sqrt(((scores - scores.mean(axis=1, keepdims=True)) ** 2).mean())
    errors = np.random.default_rng(4).normal(size=(70, 5))
    errors = (errors / np.sqrt((errors**2).mean())).astype("float32")
    report = compare(fixed(scores + 0.2 * spread * errors), precision="int8")
    # The last batch begins again with the first pictures, so that these count twice.
    assert report.passed and report.noise == pytest.approx(0.2, abs=0.03)
    assert any("% of the spread of the scores" in line for line in report.lines())
    assert not compare(fixed(scores + 0.2 * spread * errors), precision="fp16").passed
    one = np.zeros_like(errors)
    one[7] = spread * 1.5
    assert compare(fixed(scores + one), precision="int8").passed
    report = compare(fixed(scores + 0.4 * spread * errors), precision="int8")
    assert not report.passed and "--max-drop" in report.problems[0]
    # Made-up pictures do not count.
    errors[:60] = 0
    assert compare(fixed(scores + 2 * spread * errors), precision="int8", real=60).noise == 0


@pytest.mark.parametrize("classes", [3, 5, 10, 100])
def test_int8_flips_that_no_random_error_explains_fail(classes):
    """Two scores exchanged in every picture are a small error, and yet no label is right."""
    generator = np.random.default_rng(5)
    scores = np.tile(np.float32([0.1, 0.0, *-generator.uniform(1, 3, classes - 2)]), (70, 1))
    off = scores.copy()
    off[:, [0, 1]] = scores[:, [1, 0]]
    report = compare(fixed(off), reference=fixed(scores), precision="int8")
    assert report.noise < 0.25 and report.agreement == 0
    assert [problem.partition(" of ")[0] for problem in report.problems] == ["first: 128"]  # the last batch begins again
    # A few pictures are no rule.
    off[3:] = scores[3:]
    assert compare(fixed(off), reference=fixed(scores), precision="int8").passed


def test_int8_flips_that_random_errors_explain_pass():
    """The model's two best scores are closer than the errors, in most of the pictures."""
    generator = np.random.default_rng(6)
    scores = np.zeros((70, 5), "float32")
    scores[:, 0], scores[:, 1], scores[:, 2:] = 0.05, 0, -1
    off = scores + generator.normal(0, 0.1, scores.shape).astype("float32")
    report = compare(fixed(off), reference=fixed(scores), precision="int8")
    assert report.passed and 0.4 < report.agreement < 0.9


def test_int8_with_one_score_per_image_is_compared():
    scores = np.linspace(-1, 1, 70, dtype="float32")[:, None]
    assert compare(fixed(scores + np.float32(0.05)), reference=fixed(scores), precision="int8").passed
    refused(fixed(0 * scores), "errs by 10", reference=fixed(scores), precision="int8")
    flat = np.full((70, 1), np.float32(0.5))
    assert compare(fixed(flat + np.float32(5e-5)), reference=fixed(flat), precision="int8").passed
    refused(fixed(flat + 1), "differs by up to 1 where all scores are the same", reference=fixed(flat), precision="int8")


@pytest.mark.parametrize("precision", parity.TOLERANCES)
@pytest.mark.parametrize("scale", [1e-5, 1e-3, 1.0, 1e3])
def test_zero_output_fails_even_for_small_scores(precision, scale):
    def reference(pictures):
        return model(pictures) * np.float32(scale)

    def coarse(pictures):
        return reference(pictures) + np.float32(scale * 1e-5)

    refused(lambda pictures: 0 * reference(pictures), "differs|errs", reference=reference, precision=precision)
    assert compare(coarse, reference=reference, precision=precision).passed


def test_black_image_can_differ_by_the_rounding_of_the_others():
    scores = model(PICTURES) * np.float32(1e-3)
    scores[0] = 0
    off = scores.copy()
    off[0] = np.abs(scores).max() * np.float32(5e-5) * np.arange(5)[::-1] / 5
    assert compare(fixed(off), reference=fixed(scores)).passed
    refused(fixed(off * 1000), "differs", reference=fixed(scores))


def test_progress_advances_once_for_the_model_and_each_runtime():
    def cannot():
        raise CannotRun("no")

    moves = []
    candidates = {
        "good": Candidate(lambda: model),
        "none": Candidate(cannot),
        "odd": Candidate(lambda: lambda pictures: -model(pictures), binding=False),
    }
    parity.compare(model, candidates, PICTURES, advance=lambda: moves.append(1))
    assert len(moves) == 1 + len(candidates)


def test_int8_batches_of_one_runtime_agree():
    def by_batch(pictures):
        return model(pictures) * (1 if len(pictures) == 64 else 1.2)

    report = compare(by_batch, precision="int8")
    assert [problem[:23] for problem in report.problems] == ["first: a batch of 3 dif", "first: a batch of 1 dif"]


def test_int8_agreement_counts_real_images_only():
    reference, exchanged = draw(0.1)
    report = compare(exchanged([0, 1, 68, 69]), reference=reference, precision="int8", real=60)
    assert report.passed and report.agreement == pytest.approx(58 / 60)
    assert compare(exchanged([0]), reference=reference, precision="int8", real=0).agreement is None


def test_comparison_without_runtimes_fails():
    assert not compare(model, pictures=PICTURES[:0]).passed
    assert not compare().passed

    def cannot(pictures):
        raise CannotRun("no")

    refused(cannot, "no runtime has run the file")


def test_error_contains_all_problems_and_the_first_different_layer():
    report = parity.Report(
        3, (1, 7), 0.0, 1, ("first", "second"), first_divergent_layer="conv3 (largest difference 0.3 of 2.4)"
    )
    with pytest.raises(
        CheckFailed, match=r"first; second; the first layer that differs is conv3 \(largest difference 0\.3 of 2\.4\)"
    ):
        report.raise_if_failed()
    assert CheckFailed.exit_code == 1


def test_deviation_of_one_other_runtime_is_reported_and_passes():
    candidates = {
        "good": Candidate(lambda: model),
        "odd": Candidate(lambda: lambda pictures: -model(pictures), binding=False),
        "another": Candidate(lambda: model, binding=False),
    }
    report = parity.compare(model, candidates, PICTURES)
    assert report.passed and report.runtimes == ("good", "another") and report.flipped_labels == 0
    assert "a batch of 64 differs" in report.deviating["odd"] and report.largest_difference < 1e-6
    assert any("do not use odd" in line for line in report.lines())
    candidates["odd"] = Candidate(candidates["odd"].open)
    assert not parity.compare(model, candidates, PICTURES).passed


def test_images_on_which_the_model_is_not_finite_are_skipped_and_reported():
    scores = model(PICTURES)
    scores[[3, 40]] = np.nan
    report = compare(fixed(scores), reference=fixed(scores), real=60)
    assert report.passed and report.images == 68
    assert report.skipped == {"2 of 70 images": "the scores of the model are not finite"}
    assert "not compared on 2 of 70 images: the scores of the model are not finite" in report.lines()
    # The file is judged on the others.
    wrong = scores.copy()
    wrong[69] += 1
    assert not compare(fixed(wrong), reference=fixed(scores)).passed
    # Only the images that are left count as real ones.
    assert compare(fixed(scores), reference=fixed(scores), real=4, precision="int8").agreement == 1


def test_the_model_is_blamed_if_it_is_finite_on_almost_no_image():
    scores = model(PICTURES)
    scores[6:] = np.inf
    report = refused(
        fixed(scores),
        "cannot be verified because of the model: its scores are not finite on 64 of 70 images",
        reference=fixed(scores),
    )
    assert report.cause == "model" and "--data" in report.problems[0]


def exactly(error, factor=1.0):
    """Return a model, its scores in float64, and a file: the model errs by an error, the file by the factor of it."""
    generator = np.random.default_rng(7)
    exact = model(PICTURES).astype("float64")
    sign = generator.choice([-1, 1], exact.shape)
    rounded = (exact + error * sign).astype("float32")
    return fixed(rounded), fixed(exact), fixed((exact - factor * error * sign).astype("float32"))


def test_a_file_may_differ_by_as_much_as_the_model_rounds():
    reference, exact, file = exactly(4e-4)
    assert not compare(file, reference=reference).passed
    report = compare(file, reference=reference, exact=exact)
    assert report.passed and report.cause is None and report.skipped == {}
    assert report.rounding == pytest.approx(16e-4, rel=0.01) and 7e-4 < report.largest_difference < 9e-4
    assert any("up to 0.0016 is accepted, because the model itself rounds in float32" in line for line in report.lines())
    reference, exact, file = exactly(4e-4, factor=6)
    assert compare(file, reference=reference, exact=exact).cause == "file"
    # A model that does not round takes no other tolerance.
    report = refused(
        fixed(model(PICTURES) + np.float32(0.01)), "differs", exact=lambda images: model(images).astype("float64")
    )
    assert report.rounding is None and report.cause == "file"


def test_images_at_which_the_model_rounds_too_much_are_not_judged():
    scores, exact = model(PICTURES), model(PICTURES).astype("float64")
    dark = PICTURES.copy()
    dark[:50] //= 64  # another scale
    rows = {picture.tobytes(): row for picture, row in zip(dark, scores, strict=True)}
    exact_rows = {picture.tobytes(): row for picture, row in zip(dark, exact, strict=True)}

    def of(rows):
        return lambda pictures: np.stack([rows[picture.tobytes()] for picture in pictures])

    for number in range(50, 70):
        exact_rows[dark[number].tobytes()] = exact[number] + 1
    file = {**rows, **{key: value + 1 for key, value in rows.items() if key in {each.tobytes() for each in dark[50:]}}}
    report = compare(
        of({key: np.float32(value) for key, value in file.items()}), reference=of(rows), pictures=dark, exact=of(exact_rows)
    )
    assert report.passed and report.skipped == {"20 of 70 images": "the model rounds too much in float32"}
    # If it rounds everywhere, nothing is shown.
    report = refused(
        fixed(scores + 1), "because of the model: it rounds too much", reference=fixed(scores), exact=fixed(exact + 1)
    )
    assert report.cause == "model"


def test_a_model_that_mixes_its_batch_is_named_as_the_cause():
    def mixing(pictures):
        return model(pictures) - model(pictures).mean(axis=0)

    report = refused(mixing, "because of the model: the scores of an image depend on the other images", reference=mixing)
    assert report.cause == "model"
    assert compare(mixing).cause == "file"


def slow(run, culprit, most=3):
    return {"fast": Candidate(lambda: model), "slow": Candidate(lambda: run, most=most, culprit=culprit)}


def test_an_operator_that_a_runtime_computes_differently_is_named_and_not_held_against_the_file():
    asked = []

    def culprit(images):
        asked.append(images)
        return "LogSoftmax (scores)"

    report = parity.compare(model, slow(lambda pictures: -model(pictures), culprit), PICTURES)
    assert report.passed and report.runtimes == ("fast",) and report.flipped_labels == 0
    assert "it computes LogSoftmax (scores) differently" in report.deviating["slow"]
    np.testing.assert_array_equal(asked[0], PICTURES[[0, 34, 69]])
    # Without an operator, or if the other runtimes differ as well, the file is the cause.
    assert not parity.compare(model, slow(lambda pictures: -model(pictures), lambda images: None), PICTURES).passed
    candidates = slow(lambda pictures: -model(pictures), culprit)
    candidates["fast"] = Candidate(lambda: lambda pictures: -model(pictures))
    report = parity.compare(model, candidates, PICTURES)
    assert {problem.partition(":")[0] for problem in report.problems} == {"fast", "slow", "70 labels differ"}


def test_the_report_contains_how_many_images_each_runtime_ran_and_what_was_changed_in_it():
    candidates = slow(model, None)
    candidates["changed"] = Candidate(lambda: model, changes="with LRN of the zoo")
    candidates["one"] = Candidate(lambda: model, most=1)
    report = parity.compare(model, candidates, PICTURES)
    assert report.images_by_runtime == {"fast": 70, "slow": 3, "changed": 70, "one": 1}
    assert report.changed == {"changed": "with LRN of the zoo"}
    assert report.plain()["images_by_runtime"]["slow"] == 3
    assert "runtimes: fast, slow (3 images), changed (with LRN of the zoo), one (1 image)" in report.lines()


def test_a_single_image_of_a_slow_runtime_is_none_of_the_first():
    """The first of made-up inputs are constant."""
    asked = []
    candidates = {"slow": Candidate(lambda: lambda pictures: asked.append(pictures) or model(pictures), most=1)}
    parity.compare(model, candidates, PICTURES)
    np.testing.assert_array_equal(np.concatenate(asked), PICTURES[[35]])


@pytest.mark.parametrize(("scale", "little"), [(1e-6, True), (1e-4, True), (0.1, False)])
def test_scores_that_hardly_depend_on_the_image_show_little(scale, little):
    def reference(pictures):
        return 1 + np.float32(scale) * model(pictures)

    report = compare(reference, reference=reference)
    assert report.passed and any("this shows little" in line for line in report.lines()) == little
    # A file that gives the same scores for all images would pass, too.
    constant = reference(PICTURES).mean(axis=0)
    if scale == 1e-6:
        assert compare(lambda pictures: np.tile(constant, (len(pictures), 1)), reference=reference).passed


def test_yes_or_no_is_compared_for_equality(tmp_path):
    given = keras.Input((5,))
    model = keras.Model(given, keras.layers.Dense(3)(given) > 0)
    report = exporters.to_onnx(model, tmp_path / "model.onnx")
    assert report.passed and report.largest_difference == 0 and len(report.runtimes) > 2
    spec = parity.FileSpec(dtype="bool", batches=(1, 3))
    other = parity.Candidate(lambda: lambda batch: batch[:, :3] > 0.5)
    images = np.random.default_rng(0).normal(size=(8, 5))
    report = parity.compare(lambda batch: batch[:, :3] > 0, {"other": other}, images, spec)
    assert report.problems
