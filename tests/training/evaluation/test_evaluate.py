"""Evaluation of classifiers: scores, ten views, errors, and the command `zoo evaluate`."""

import json

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import training
import zoo
from training.commands import evaluate as command
from training.data import Samples
from training.evaluation.evaluate import Evaluation, batch_size_for, score, ten_views
from zoo.errors import ZooError

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def evaluation():
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2], "int32")  # nothing of class d
    scores = np.array(
        [
            [5, 1, 0, 0],
            [1, 4, 0, 0],  # a read as b, leads by 3
            [2, 0, 2.5, 0],  # a read as c, by 0.5
            [0, 9, 0, 0],
            [0, 1, 0, 8],  # b read as d, by 7
            [0, 0, 3, 0],
            [0, 0, 3, 0],
            [3, 0, 0, 0],  # c read as a, by 3
            [-9, -8, -1, -7],
        ]
    )
    return Evaluation(NAMES, labels, scores, 1.5)


def test_confusion_matrix_and_errors_equal_plain_counts(evaluation):
    confusion, wrong = np.zeros((4, 4), int), 0
    for label, row in zip(evaluation.labels, evaluation.scores, strict=True):
        answer = max(range(4), key=lambda index: row[index])
        confusion[label, answer] += 1
        wrong += answer != label
    np.testing.assert_array_equal(evaluation.confusion_matrix(), confusion)
    assert evaluation.error == pytest.approx(100 * wrong / 9)
    summary = evaluation.summary()
    assert (summary["pictures"], summary["wrong"], summary["seconds"]) == (9, 4, 1.5)
    assert summary["error"] == pytest.approx(400 / 9, abs=1e-4)
    assert summary["accuracy"] == pytest.approx(500 / 9, abs=1e-4)
    assert summary["error_by_class"] == {
        "a": pytest.approx(200 / 3, abs=1e-4),
        "b": pytest.approx(50),
        "c": pytest.approx(25),
        "d": None,
    }
    assert json.loads(json.dumps(summary)) == summary


def test_mistakes_are_sorted_by_their_lead_and_ties_keep_their_order(evaluation):
    assert evaluation.wrong.tolist() == [4, 1, 7, 2]


@pytest.fixture(scope="module")
def classifier():
    return zoo.load("linear", classes=NAMES)


def test_scores_do_not_depend_on_the_batch_size(classifier, monkeypatch):
    generator = np.random.default_rng(0)
    classifier.set_weights([generator.normal(size=weight.shape) for weight in classifier.get_weights()])
    images = generator.integers(0, 256, (11, 28, 28, 1), "uint8")
    labels = generator.integers(0, 4, 11).astype("int32")
    kernel, bias = classifier.get_weights()
    expected = images.reshape(11, -1) / 255 @ kernel + bias
    for batch_size in (1, 4, 1000):
        monkeypatch.setattr("zoo.images.BATCH_PIXELS", batch_size * 28 * 28)
        found = score(classifier, Samples(images, labels))
        np.testing.assert_allclose(found.scores, expected, rtol=1e-4, atol=1e-4)
        assert found.class_names == NAMES and found.labels is labels and found.seconds > 0


class BatchSizes:
    """A classifier that records the size of each batch."""

    def __init__(self, classifier):
        self.classifier, self.sizes = classifier, []
        self.class_names, self.image_spec = classifier.class_names, classifier.image_spec
        self.input_image_shape = classifier.input_image_shape

    def predict_on_batch(self, images):
        self.sizes.append(len(images))
        return self.classifier.predict_on_batch(images)


def test_large_images_are_predicted_in_small_batches(classifier, monkeypatch):
    assert [batch_size_for(shape) for shape in ((28, 28, 1), (64, 64, 3), (227, 227, 3), (3000, 3000, 3))] == [
        1000,
        341,
        27,
        1,
    ]
    monkeypatch.setattr("zoo.images.BATCH_PIXELS", 4 * 28 * 28 + 1)
    recorded = BatchSizes(classifier)
    score(recorded, Samples(np.zeros((11, 28, 28, 1), "uint8"), np.zeros(11, "int32")))
    assert recorded.sizes == [4, 4, 3]


def test_more_than_twenty_classes_have_a_top_5_error():
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 30, 200), generator.integers(0, 9, (200, 30)).astype(float)  # with ties
    evaluation = Evaluation(tuple(map(str, range(30))), labels, scores, 1.0)
    missed = {1: 0, 5: 0}
    for label, row in zip(labels, scores, strict=True):
        ranked = sorted(range(30), key=lambda index: (-row[index], index))
        for best in missed:
            missed[best] += label not in ranked[:best]
    assert 0 < missed[5] < missed[1]
    assert (evaluation.error, evaluation.top5_error) == (pytest.approx(missed[1] / 2), pytest.approx(missed[5] / 2))
    assert evaluation.summary()["top5_error"] == pytest.approx(missed[5] / 2)


def test_few_classes_have_no_top_5_error(evaluation):
    assert not {"top5_error", "views"} & set(evaluation.summary())


def ten_views_by_loop(image, height, width):
    """The ten views of section 4.1 of the paper, copied pixel by pixel."""
    down, right = image.shape[0] - height, image.shape[1] - width
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    views = []
    for mirrored in (False, True):
        for top, left in corners:
            view = np.empty((height, width, image.shape[2]), image.dtype)
            for row in range(height):
                for column in range(width):
                    view[row, column] = image[top + row, left + (width - 1 - column if mirrored else column)]
            views.append(view)
    return views


@pytest.mark.parametrize(("height", "width"), [(5, 5), (4, 6), (8, 9)])
def test_ten_views_are_the_corners_the_middle_and_their_mirror_images(height, width):
    images = np.random.default_rng(1).integers(0, 256, (3, 8, 9, 2), "uint8")
    found = ten_views(images, height, width)
    assert found.shape == (3, 10, height, width, 2) and found.dtype == images.dtype
    for image, views in zip(images, found, strict=True):
        np.testing.assert_array_equal(views, ten_views_by_loop(image, height, width))


@pytest.fixture
def cutting(classifier):
    """The linear classifier, as if trained on crops of 32x32 images."""
    generator = np.random.default_rng(5)
    classifier.set_weights([generator.normal(scale=0.1, size=weight.shape) for weight in classifier.get_weights()])
    classifier.image_spec["crop_from"] = 32
    yield classifier
    classifier.image_spec["crop_from"] = None


def test_ten_views_are_scored_by_their_mean_probabilities(cutting, monkeypatch):
    """Compared with a loop over the views. The predictions differ from those of the center crop."""
    images = np.random.default_rng(6).integers(0, 256, (7, 32, 32, 1), "uint8")
    expected = []
    for image in images:
        total = np.zeros(4)
        for view in ten_views_by_loop(image, 28, 28):
            scores = np.asarray(cutting(view[None]))[0].astype("float64")
            total += np.exp(scores) / np.exp(scores).sum()
        expected.append(total / 10)
    samples = Samples(images, np.zeros(7, "int32"))
    for at_once, sizes in ((20, [20, 20, 20, 10]), (1, [10] * 7), (1000, [70])):
        monkeypatch.setattr("zoo.images.BATCH_PIXELS", at_once * 28 * 28)
        recorded = BatchSizes(cutting)
        found = score(recorded, samples, views=10)
        np.testing.assert_allclose(found.scores, expected, rtol=1e-4, atol=1e-6)
        assert recorded.sizes == sizes and found.summary()["views"] == 10
    assert not np.array_equal(found.predictions, score(cutting, samples).predictions)


def test_ten_views_are_cropped_from_the_uncropped_image(cutting, tmp_path):
    """For a file larger than the input of the classifier, the views contain its borders and the center crop does not."""
    image = np.zeros((32, 32), "uint8")
    image[:2], image[-2:], image[:, :2], image[:, -2:] = 255, 255, 255, 255
    (tmp_path / "d").mkdir()
    Image.fromarray(image).save(tmp_path / "d" / "0.png")
    middle, _ = training.evaluate(cutting, str(tmp_path))
    views, _ = training.evaluate(cutting, str(tmp_path), views=10)
    kernel, bias = cutting.get_weights()
    np.testing.assert_allclose(middle.scores[0], bias, atol=1e-5)  # the middle is black
    logits = np.stack(ten_views_by_loop(image[..., None], 28, 28)).reshape(10, -1) / 255 @ kernel + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(views.scores[0], probabilities.mean(axis=0), rtol=1e-4, atol=1e-6)


def test_ten_views_of_whole_images_are_refused(classifier, tmp_path):
    write(tmp_path, "d")
    with pytest.raises(ZooError, match=r"linear takes whole images.*no crop_from.*remove --views"):
        training.evaluate(classifier, str(tmp_path), views=10)
    with pytest.raises(ZooError, match="--views 5: expected 1 or 10"):
        training.evaluate(classifier, str(tmp_path), views=5)


def write(folder, name, count=2, value=0):
    (folder / name).mkdir(parents=True)
    for number in range(count):
        Image.fromarray(np.full((28, 28), value, "uint8")).save(folder / name / f"{number}.png")


def test_classes_are_matched_by_name_and_some_may_be_absent(classifier, tmp_path):
    write(tmp_path, "d", 1)
    write(tmp_path, "b", 3)
    classifier.set_weights([np.zeros((784, 4)), np.array([0.0, 1.0, 0.0, 0.0])])  # says b, always
    evaluation, problems = training.evaluate(classifier, str(tmp_path))
    assert problems == [] and evaluation.error == 25
    assert evaluation.summary()["error_by_class"] == {"a": None, "b": 0, "c": None, "d": 100}


def test_an_unknown_class_is_refused_with_a_suggestion(tmp_path):
    write(tmp_path, "seven")
    model = zoo.load("linear", classes=["sevens", "eights"])
    with pytest.raises(ZooError, match=r"class 'seven' that the model lacks; did you mean 'sevens'.*sevens, eights"):
        training.evaluate(model, str(tmp_path))


def test_the_requested_split_is_used(classifier, tmp_path):
    write(tmp_path / "train", "a", 3)
    write(tmp_path / "test", "b", 2)
    assert len(training.evaluate(classifier, str(tmp_path), part="train")[0].labels) == 3
    assert len(training.evaluate(classifier, str(tmp_path))[0].labels) == 2
    with pytest.raises(ZooError, match=r"no split 'validation'; it has test, train. Choose one with --split"):
        training.evaluate(classifier, str(tmp_path), part="validation")


def test_a_split_without_a_readable_image_is_refused(classifier, tmp_path):
    write(tmp_path / "train", "a", 3)
    (tmp_path / "test" / "b").mkdir(parents=True)
    (tmp_path / "test" / "b" / "0.png").write_text("I am a text")
    with pytest.raises(ZooError, match=r"test.*0\.png"):
        training.evaluate(classifier, str(tmp_path))


def test_unreadable_files_are_skipped_and_named_or_refused_if_strict(classifier, tmp_path):
    write(tmp_path, "a", 2)
    (tmp_path / "a" / "text.png").write_text("I am a text")
    evaluation, problems = training.evaluate(classifier, str(tmp_path))
    assert len(evaluation.labels) == 2
    (problem,) = problems
    assert "text.png" in problem
    with pytest.raises(ZooError, match=r"text\.png"):
        training.evaluate(classifier, str(tmp_path), strict=True)


def test_the_command_prints_the_same_as_json(zoo_command, classifier, tmp_path):
    write(tmp_path / "data", "d", 1)
    write(tmp_path / "data", "b", 3)
    (tmp_path / "data" / "b" / "text.png").write_text("I am a text")
    classifier.set_weights([np.zeros((784, 4)), np.array([0.0, 1.0, 0.0, 0.0])])
    classifier.save(tmp_path / "mine.keras")
    done = zoo_command("evaluate", tmp_path / "mine.keras", "--data", tmp_path / "data", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["pictures"], answer["wrong"], answer["error"], answer["accuracy"]) == (4, 1, 25.0, 75.0)
    assert answer["error_by_class"] == {"a": None, "b": 0, "c": None, "d": 100}
    assert [name.partition("/data/b/")[2].partition(" ")[0] for name in answer["left_out"]] == ["text.png"]
    assert not done.stderr


def test_the_command_scores_ten_views(zoo_in_process, cutting, tmp_path):
    write(tmp_path / "data", "b", 3, 200)
    cutting.save(tmp_path / "mine.keras")
    words = ("evaluate", tmp_path / "mine.keras", "--data", tmp_path / "data", "--views", 10)
    expected = training.evaluate(cutting, str(tmp_path / "data"), views=10)[0]
    done = zoo_in_process(*words)
    assert done.returncode == 0, done.stderr
    assert f"{expected.summary()['wrong']} of 3 images misclassified, 10 views of each" in done.stdout
    answer = json.loads(zoo_in_process(*words, "--json").stdout)
    assert (answer["views"], answer["error"]) == (10, expected.error)


def test_the_command_prints_the_top_5_error_of_many_classes(zoo_in_process, tmp_path):
    names = [f"class{number:02}" for number in range(25)]
    many = zoo.load("linear", classes=names)
    many.set_weights([np.zeros((784, 25)), -np.arange(25.0)])  # says class00, then class01, and so on
    many.save(tmp_path / "mine.keras")
    for number in (0, 4, 5):
        write(tmp_path / "data", names[number], 1)
    done = zoo_in_process("evaluate", tmp_path / "mine.keras", "--data", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert "error 66.67 %, top-5 error 33.33 %, accuracy 33.33 %" in done.stdout
    assert "the model was trained on some of it" in done.stdout and "split.csv" not in done.stdout
    (tmp_path / "split.csv").touch()
    done = zoo_in_process("evaluate", tmp_path / "mine.keras", "--data", tmp_path / "data")
    assert (
        f"the test split of its run: zoo evaluate {tmp_path / 'mine.keras'} --data {tmp_path / 'split.csv'}" in done.stdout
    )


def test_the_run_of_another_model_is_not_named(zoo_in_process, tmp_path):
    write(tmp_path / "data", "7", 1)
    (tmp_path / "split.csv").touch()
    done = zoo_in_process("evaluate", "linear.mnist", "--data", "data", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "this is the whole data set" in done.stdout and "split.csv" not in done.stdout


def test_the_command_exits_with_2_and_one_line_for_an_unknown_class(zoo_in_process, classifier, tmp_path):
    write(tmp_path, "e")
    classifier.save(tmp_path / "mine.keras")
    done = zoo_in_process("evaluate", tmp_path / "mine.keras", "--data", tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("zoo: the data have a class 'e'") and done.stderr.count("\n") == 1


@pytest.mark.mnist
def test_pretrained_lenet5_reaches_the_published_error_on_mnist():
    evaluation, _ = training.evaluate(zoo.load("lenet5.mnist"), "mnist")
    assert len(evaluation.labels) == 10_000
    published = next(each.value for each in zoo.card("lenet5").published if each.setting == "no distortions")
    assert published == 0.95  # per cent
    assert evaluation.error <= published


def test_split_is_the_only_name_of_the_option():
    app = typer.Typer()
    app.command()(command.evaluate)
    result = CliRunner().invoke(app, ["linear", "--data", "mnist", "--part", "test"])
    assert result.exit_code == 2 and "No such option: --part" in result.output
