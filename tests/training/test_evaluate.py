import json

import numpy as np
import pytest
from PIL import Image

import training
import zoo
from training.evaluation import Evaluation, score
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


def test_confusion_and_errors_are_those_of_a_plain_count(evaluation):
    confusion, wrong = np.zeros((4, 4), int), 0
    for label, row in zip(evaluation.labels, evaluation.scores, strict=True):
        answer = max(range(4), key=lambda index: row[index])
        confusion[label, answer] += 1
        wrong += answer != label
    np.testing.assert_array_equal(evaluation.confusion(), confusion)
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


def test_the_most_confident_mistake_comes_first_and_a_tie_keeps_its_order(evaluation):
    assert evaluation.wrong.tolist() == [4, 1, 7, 2]


@pytest.fixture(scope="module")
def classifier():
    return zoo.load("linear", classes=NAMES)


def test_scores_are_the_classifiers_whatever_the_batch(classifier):
    from training.data import Samples

    generator = np.random.default_rng(0)
    classifier.set_weights([generator.normal(size=weight.shape) for weight in classifier.get_weights()])
    pictures = generator.integers(0, 256, (11, 28, 28, 1), "uint8")
    labels = generator.integers(0, 4, 11).astype("int32")
    kernel, bias = classifier.get_weights()
    expected = pictures.reshape(11, -1) / 255 @ kernel + bias
    for batch_size in (1, 4, 1000):
        found = score(classifier, Samples(pictures, labels), batch_size)
        np.testing.assert_allclose(found.scores, expected, rtol=1e-4, atol=1e-4)
        assert found.class_names == NAMES and found.labels is labels and found.seconds > 0


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


def test_a_foreign_class_is_refused_with_the_nearest(tmp_path):
    write(tmp_path, "seven")
    model = zoo.load("linear", classes=["sevens", "eights"])
    with pytest.raises(ZooError, match=r"class 'seven' that the model lacks; did you mean 'sevens'.*sevens, eights"):
        training.evaluate(model, str(tmp_path))


def test_the_part_that_is_asked_for_is_used(classifier, tmp_path):
    write(tmp_path / "train", "a", 3)
    write(tmp_path / "test", "b", 2)
    assert len(training.evaluate(classifier, str(tmp_path), part="train")[0].labels) == 3
    assert len(training.evaluate(classifier, str(tmp_path))[0].labels) == 2
    with pytest.raises(ZooError, match="no part 'validation', but"):
        training.evaluate(classifier, str(tmp_path), part="validation")


def test_a_part_in_which_nothing_can_be_read_is_refused(classifier, tmp_path):
    write(tmp_path / "train", "a", 3)
    (tmp_path / "test" / "b").mkdir(parents=True)
    (tmp_path / "test" / "b" / "0.png").write_text("I am a text")
    with pytest.raises(ZooError, match=r"test.*0\.png"):
        training.evaluate(classifier, str(tmp_path))


def test_what_cannot_be_read_is_named_or_refused(classifier, tmp_path):
    write(tmp_path, "a", 2)
    (tmp_path / "a" / "text.png").write_text("I am a text")
    evaluation, problems = training.evaluate(classifier, str(tmp_path))
    assert len(evaluation.labels) == 2
    (problem,) = problems
    assert "text.png" in problem
    with pytest.raises(ZooError, match=r"text\.png"):
        training.evaluate(classifier, str(tmp_path), strict=True)


def test_the_command_prints_json_that_says_the_same(zoo_command, classifier, tmp_path):
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


def test_the_command_ends_with_2_and_one_line_for_what_cannot_be(zoo_command, classifier, tmp_path):
    write(tmp_path, "e")
    classifier.save(tmp_path / "mine.keras")
    done = zoo_command("evaluate", tmp_path / "mine.keras", "--data", tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("zoo: the data have a class 'e'") and done.stderr.count("\n") == 1


@pytest.mark.mnist
def test_pretrained_lenet5_reaches_the_published_error_on_mnist():
    evaluation, _ = training.evaluate(zoo.load("lenet5.mnist"), "mnist")
    assert len(evaluation.labels) == 10_000
    published = next(each.value for each in zoo.card("lenet5").published if each.setting == "no distortions")
    assert published == 0.95  # per cent
    assert evaluation.error <= published
