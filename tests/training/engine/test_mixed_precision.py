import re
import zipfile

import keras
import numpy as np
import pytest

import zoo
from training import keras_objects
from training.engine import checkpoint, fused_steps, mixed_precision, trainer
from zoo import machine, registry
from zoo.errors import ZooError
from zoo.layers import Deskew, PCAWhitening, RBFOutput

HALF = ("bfloat16", "float16")
# Rounding errors of half precision, 2^-8 and 2^-11, grow in a model: a maximum is at another place, a ReLU is just on. The
# largest measured differences are 0.15 and 0.06, for alexnet-cifar, whose initial weights are tiny.
NEAR = {"bfloat16": 0.2, "float16": 0.1}
SMALL = {"alexnet-asrun": 64}
# Together they have all kinds of layers of the models trained by gradients; the other models were within the same bounds.
NETS = ("mark1", "xor", "mlp", "lenet5", "lenet5-modern", "alexnet-cifar", "alexnet-asrun")


def classifier_of(name):
    """Return a classifier; large models without their fully connected layers and for small images."""
    if name not in SMALL:
        return zoo.load(name)
    card, size = zoo.card(name), SMALL[name]
    below = zoo.build(name, size=size, include_top=False)
    scores = keras.layers.Dense(10, name="scores")(keras.layers.Flatten()(below.outputs[0]))
    card = card.model_copy(update={"picture": square(card, size)})
    return registry.wrap(keras.Model(below.inputs, scores, name=name), card, range(10))


def square(card, size):
    return card.picture.model_copy(update={"height": size, "width": size, "crop_from": None})


def samples_of(classifier, rows=16):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (rows, *classifier.input_image_shape), "uint8")
    return images, generator.integers(0, len(classifier.class_names), rows).astype("int32")


def prepared(classifier, half, optimizer, loss, kind=trainer.Trainer, rows=16):
    learner = kind(classifier, (), *samples_of(classifier, rows), 16)
    learner.prepare(mixed_precision.optimizer(optimizer, half), loss)
    return learner


@pytest.mark.slow("differentiates AlexNet in three precisions")
@pytest.mark.parametrize("name", NETS)
def test_gradients_are_close_to_those_of_float32(name):
    """A step of SGD at rate 1 is the gradient; in float16 the loss scale may have to be halved first."""
    keras.utils.set_random_seed(1)
    classifier = classifier_of(name)
    start = classifier.get_weights()
    losses, gradients = {}, {}
    for half in ("float32", *HALF):
        classifier.set_weights(start)
        optimizer = keras.optimizers.SGD(1.0)
        with mixed_precision.using(classifier, half):
            learner = prepared(classifier, half, optimizer, keras_objects.loss(zoo.card(name).loss))
            for _ in range(15):
                losses[half] = float(learner.train_on_batch(*samples_of(classifier))[0])
                if int(optimizer.iterations):
                    break
        moved = [(before - after).ravel() for before, after in zip(start, classifier.get_weights(), strict=True)]
        gradients[half] = np.concatenate(moved).astype("float64")
    exact = gradients["float32"]
    assert np.linalg.norm(exact) > 0
    for half in HALF:
        assert losses[half] == pytest.approx(losses["float32"], rel=0.01, abs=1e-3)
        assert np.linalg.norm(gradients[half] - exact) <= NEAR[half] * np.linalg.norm(exact)


@pytest.mark.parametrize("half", HALF)
def test_layers_that_compute_in_half_precision(half):
    classifier = zoo.load("lenet5")
    images, _ = samples_of(classifier, 2)
    with mixed_precision.using(classifier, half):
        x = classifier.preprocessing(images)
        kinds = {"preprocessing": keras.backend.standardize_dtype(x.dtype)}
        for layer in classifier.net.layers[1:]:
            x = layer(x)
            kinds[layer.name] = keras.backend.standardize_dtype(x.dtype)
        assert keras.backend.standardize_dtype(classifier(images).dtype) == "float32"
    assert {name for name, kind in kinds.items() if kind == "float32"} == {"preprocessing", "rbf"}
    assert {kinds[name] for name in ("c1", "s2", "c3", "c5", "f6")} == {half}
    assert {weight.dtype for weight in classifier.weights} == {"float32"}


def test_layers_sensitive_to_rounding_stay_in_float32():
    layers = [Deskew(), PCAWhitening(4), RBFOutput(np.eye(4)), keras.layers.Dense(8), keras.layers.Dense(2)]
    layers[1].adapt(np.random.default_rng(0).random((9, 16)))
    net = keras.Sequential([keras.Input((4, 4, 1)), layers[0], keras.layers.Flatten(), *layers[1:]])
    card = zoo.card("linear")
    classifier = registry.wrap(net, card.model_copy(update={"picture": square(card, 4)}), "ab")
    with mixed_precision.using(classifier, "bfloat16"):
        assert [layer.compute_dtype for layer in layers] == ["float32"] * 3 + ["bfloat16", "float32"]


@pytest.mark.parametrize("half", HALF)
def test_a_saved_file_has_no_trace_of_mixed_precision(half, tmp_path):
    classifier = zoo.load("lenet5")
    images, _ = samples_of(classifier, 4)
    scores = np.asarray(classifier(images))
    with mixed_precision.using(classifier, half):
        assert np.abs(np.asarray(classifier(images)) - scores).max() > 0
        classifier.save(tmp_path / "mixed.keras")
        with mixed_precision.using(classifier, "float32"):
            classifier.save(tmp_path / "plain.keras")
        assert classifier.net.get_layer("c1").compute_dtype == half
    classifier.save(tmp_path / "after.keras")

    def described(name):
        with zipfile.ZipFile(tmp_path / f"{name}.keras") as archive:
            return archive.read("config.json").decode()

    assert f"mixed_{half}" in described("mixed")
    assert "mixed" not in described("plain") and half not in described("plain")
    policies = [re.findall(r'"DTypePolicy", "config": {"name": "(\w+)"', described(name)) for name in ("plain", "after")]
    assert set(policies[0]) == {"float32"} and policies[0] == policies[1]
    np.testing.assert_array_equal(zoo.load(tmp_path / "plain.keras")(images), scores)
    # A file that was saved in mixed precision is converted the same way.
    loaded = zoo.load(tmp_path / "mixed.keras")
    with mixed_precision.using(loaded, "float32"):
        loaded.save(tmp_path / "plain.keras")
    assert "mixed" not in described("plain")


def test_the_cached_graph_of_another_precision_is_not_used():
    classifier = zoo.load("lenet5-modern")
    images, _ = samples_of(classifier, 4)
    before = classifier.predict_on_batch(images)
    with mixed_precision.using(classifier, "bfloat16"):
        inside = classifier.predict_on_batch(images)
    assert np.abs(inside - before).max() > 0
    np.testing.assert_array_equal(classifier.predict_on_batch(images), before)


def test_a_gradient_that_overflows_skips_the_step_and_halves_the_scale():
    """The largest number of float16 is 65,504: a loss of 10 times a scale of 32,768 has larger gradients."""
    classifier = zoo.load("mlp")
    start = classifier.get_weights()
    with mixed_precision.using(classifier, "float16"):
        learner = prepared(classifier, "float16", keras.optimizers.SGD(1e-3), keras_objects.loss(zoo.card("mlp").loss))
        optimizer, scales = learner.optimizer, []
        while not int(optimizer.iterations) and len(scales) < 15:
            for one, two in zip(classifier.get_weights(), start, strict=True):
                np.testing.assert_array_equal(one, two)
            scales.append(float(optimizer.dynamic_scale))
            learner.train_on_batch(*samples_of(classifier))
    assert len(scales) > 1 and scales == [2.0 ** (15 - number) for number in range(len(scales))]
    assert all(np.isfinite(weight).all() for weight in classifier.get_weights())
    assert np.abs(classifier.get_weights()[0] - start[0]).max() > 0


def test_a_resumed_run_in_float16_is_bit_identical(tmp_path):
    """Including the loss scale, and in the trainer that fuses steps where there is one."""
    keras.utils.set_random_seed(3)
    kind = fused_steps.TensorFlowResidentTrainer if keras.backend.backend() == "tensorflow" else trainer.Trainer
    start = zoo.load("mlp").get_weights()

    def run(until, since=None):
        classifier = zoo.load("mlp")
        classifier.set_weights(start)
        with mixed_precision.using(classifier, "float16"):
            loss = keras_objects.loss(zoo.card("mlp").loss)
            learner = prepared(classifier, "float16", keras.optimizers.SGD(1e-4, momentum=0.9), loss, kind, rows=40)
            state = [*learner.variables, *learner.metrics_variables, *learner.optimizer.variables]
            if since:
                checkpoint.restore(tmp_path / "last.npz", state)
            settings = {"steps_per_epoch": learner.steps_per_epoch, "initial_epoch": since or 0, "epochs": until}
            learner.fit(learner.train_dataset(7, since or 0), **settings, shuffle=False, verbose=0)
            checkpoint.save(tmp_path / "last.npz", state, {})
        assert float(learner.optimizer.dynamic_scale) < 2.0**15
        return [np.asarray(variable) for variable in state]

    undisturbed = run(4)
    run(2)
    for one, two in zip(run(4, since=2), undisturbed, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_learning_rule_is_refused_in_half_precision():
    rule = keras_objects.rule(zoo.card("madaline").rule)
    said = f"precision bfloat16: madaline is trained by a learning rule, {type(rule).__name__}, .*float32"
    with pytest.raises(ZooError, match=said):
        mixed_precision.check("bfloat16", "madaline", rule)
    mixed_precision.check("float32", "madaline", rule)
    mixed_precision.check("float16", "lenet5", None)


@pytest.mark.parametrize(
    "flags, slow",
    [
        ("avx2", {"bfloat16", "float16"}),
        ("avx512f avx512_bf16 amx_tile amx_bf16", {"float16"}),
        ("avx512_bf16 avx512_fp16", set()),
        ("fp asimd fphp asimdhp", {"bfloat16"}),
    ],
)
def test_warning_about_a_cpu_without_hardware_support(monkeypatch, tmp_path, flags, slow):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(machine, "CPU", tmp_path / "cpuinfo")
    monkeypatch.setattr(mixed_precision, "_capability", lambda: None)
    assert {half for half in ("float32", *HALF) if mixed_precision.warning(half)} == slow


@pytest.mark.parametrize(
    "capability, slow", [((6, 1), set(HALF)), ((7, 5), {"bfloat16"}), ((8, 0), set()), ((12, 0), set())]
)
def test_warning_about_a_gpu_without_tensor_cores(monkeypatch, capability, slow):
    monkeypatch.setattr(mixed_precision, "_capability", lambda: capability)
    assert {half for half in ("float32", *HALF) if mixed_precision.warning(half)} == slow
