import math
import tomllib

import keras
import pytest

import zoo
from training import keras_objects, recipe
from zoo.errors import ZooError
from zoo.schema import KerasObject

SMALL = """
model = "linear"
epochs = 2
batch_size = 8
seed = 1
[data]
name = "mnist"
validation = 10
[optimizer]
class_name = "SGD"
config = { learning_rate = 0.1 }
"""


@pytest.mark.parametrize("name", recipe.names())
def test_a_packaged_recipe_is_valid_and_names_a_model(name):
    checked = recipe.load(name)
    if name == "finetune":
        assert checked.model == "" and checked.data.name == ""  # `zoo finetune` fills them in
    else:
        assert checked.model in zoo.list_models()
    # What the recipe describes exists and can be made.
    if checked.optimizer:
        made = keras_objects.optimizer(checked.optimizer, steps=1000)
        assert type(made).__name__ == checked.optimizer.class_name.rpartition(">")[2]
    else:
        rule = checked.rule or zoo.card(checked.model).rule
        assert keras.saving.get_registered_name(type(keras_objects.rule(rule))) == rule.class_name
    if checked.loss:
        assert type(keras_objects.loss(checked.loss)).__name__ == checked.loss.class_name.rpartition(">")[2]
    layers = keras_objects.augmentation(checked.augmentation, checked.seed)
    assert [keras.saving.get_registered_name(type(layer)).rpartition(">")[2] for layer in layers] == [
        each.class_name.rpartition(">")[2] for each in checked.augmentation
    ]


def test_names_are_the_packaged_ones():
    assert recipe.names() == sorted(recipe.names())
    assert {"lenet5-mnist", "lenet5-mnist-affine", "linear-mnist", "finetune"} <= set(recipe.names())


@pytest.mark.parametrize(
    ("line", "wrong", "right"),
    [
        ("epoch = 3", "'epoch'", "'epochs'"),
        ("batchsize = 3", "'batchsize'", "'batch_size'"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(tmp_path, line, wrong, right):
    path = tmp_path / "mine.toml"
    path.write_text(line + SMALL)
    with pytest.raises(ZooError, match="unknown key") as caught:
        recipe.load(path)
    assert wrong in str(caught.value) and right in str(caught.value) and str(path) in str(caught.value)


def test_an_unknown_key_inside_a_table_names_the_nearest_of_that_table(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SMALL.replace("validation = 10", "validation = 10\nvalidatoin = 11"))
    with pytest.raises(ZooError, match=r"'data.validatoin'.*'validation'"):
        recipe.load(path)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("epochs = 2", "epochs = 0", "epochs"),
        ("epochs = 2", 'epochs = "many"', "epochs"),
        ("epochs = 2", "", "epochs"),
        ("batch_size = 8", "batch_size = -1", "batch_size"),
        ("seed = 1", "seed = -1", "seed"),
        ("validation = 10", "validation = -1", "data.validation"),
    ],
)
def test_a_wrong_or_missing_value_is_an_error_that_names_the_key(tmp_path, old, new, key):
    path = tmp_path / "mine.toml"
    path.write_text(SMALL)
    recipe.load(path)  # without the change it is right
    path.write_text(SMALL.replace(old, new))
    with pytest.raises(ZooError, match=f"'{key}'"):
        recipe.load(path)


def test_invalid_toml_is_reported_with_its_line(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SMALL + "\n[optimizer\n")
    with pytest.raises(ZooError, match=r"not valid TOML.*line"):
        recipe.load(path)


def test_a_wrong_name_is_an_error_that_names_the_nearest():
    with pytest.raises(ZooError, match="no recipe 'lenet5-minst'; did you mean 'lenet5-mnist'"):
        recipe.load("lenet5-minst")
    with pytest.raises(ZooError, match="no recipe"):
        recipe.load("there-is-no-such-file.toml")


@pytest.mark.parametrize(
    ("setting", "pair"),
    [
        ("seed=2", ("seed", 2)),
        ("data.validation=0.2", ("data.validation", 0.2)),
        ("data.name=fashion_mnist", ("data.name", "fashion_mnist")),
        ('data.name="a=b"', ("data.name", "a=b")),
        ("data.flag=false", ("data.flag", False)),
        ("loss={class_name = 'x'}", ("loss", {"class_name": "x"})),
        ("data.name=", ("data.name", "")),
    ],
)
def test_a_setting_is_parsed_as_toml_or_else_a_string(setting, pair):
    assert recipe.parse_setting(setting) == pair


def test_a_setting_without_a_value_is_refused():
    with pytest.raises(ZooError, match=r"key=value.*'seed'"):
        recipe.parse_setting("seed")


def test_settings_change_tables_and_are_checked_like_the_file():
    changed = recipe.load("lenet5-mnist", **{"seed": 7, "data.validation": 0.25, "optimizer.config.weight_decay": 0.5})
    plain = recipe.load("lenet5-mnist")
    assert (changed.seed, changed.data.validation, changed.optimizer.config["weight_decay"]) == (7, 0.25, 0.5)
    assert changed.optimizer.config["learning_rate"] == plain.optimizer.config["learning_rate"]
    assert (changed.model, changed.epochs, changed.data.name) == (plain.model, plain.epochs, plain.data.name)
    with pytest.raises(ZooError, match=r"'sed'.*'seed'"):
        recipe.load("lenet5-mnist", sed=7)
    with pytest.raises(ZooError, match=r"data.vaildation.*'validation'"):
        recipe.load("lenet5-mnist", **{"data.vaildation": 0.25})
    with pytest.raises(ZooError, match="'seed' is a value, not a table"):
        recipe.load("lenet5-mnist", **{"seed.more": 1})


def described(text):
    return KerasObject(**tomllib.loads(text))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('class_name = "Adamm"', "Adamm"),
        ('class_name = "SGD"\nconfig = { momentumm = 0.9 }', "momentumm"),
        ('class_name = "SGD"\nconfig = { momentum = 9.0 }', "momentum"),
        ('class_name = "SGD"\nconfig.learning_rate = { class_name = "CosineDeccay" }', "CosineDeccay"),
        (
            'class_name = "SGD"\nconfig.learning_rate = { class_name = "CosineDecay", config = { initial = 1.0 } }',
            "initial",
        ),
        (
            'class_name = "SGD"\nconfig.momentumm = 0.9\n'
            'config.learning_rate = { class_name = "CosineDecay", config = { initial_learning_rate = 1.0 } }',
            r"momentumm.*'initial_learning_rate': 1.0",  # the schedule as the recipe has it, not as a Python object
        ),
    ],
)
def test_a_wrong_optimizer_or_schedule_is_named_in_one_line(text, named):
    with pytest.raises(ZooError, match=named) as caught:
        keras_objects.optimizer(described(text), steps=10)
    assert "\n" not in str(caught.value)


def test_a_wrong_loss_or_augmentation_is_named():
    with pytest.raises(ZooError, match="loss Hinj"):
        keras_objects.loss(described('class_name = "Hinj"'))
    with pytest.raises(ZooError, match=r"loss zoo>MaximumAPosteriori.*positive"):
        keras_objects.loss(described('class_name = "zoo>MaximumAPosteriori"\nconfig = { j = -1.0 }'))
    with pytest.raises(ZooError, match=r"augmentation training>BatchShift.*pixel"):
        keras_objects.augmentation([described('class_name = "training>BatchShift"\nconfig = { pixel = 1 }')], 1)


def cosine(step, start, length):
    return start * 0.5 * (1 + math.cos(math.pi * min(step, length) / length))


def test_the_default_length_of_a_schedule_is_the_run():
    text = (
        'class_name = "SGD"\nconfig.learning_rate = { class_name = "CosineDecay", config = {initial_learning_rate = 0.5} }'
    )
    rate = keras_objects.optimizer(described(text), steps=200)._learning_rate
    for step in (0, 50, 100, 199, 200, 300):
        assert float(rate(step)) == pytest.approx(cosine(step, 0.5, 200), abs=1e-6)


def test_the_default_length_excludes_the_warm_up():
    settings = "initial_learning_rate = 0.0, warmup_target = 0.5, warmup_steps = 40"
    text = f'class_name = "SGD"\nconfig.learning_rate = {{ class_name = "CosineDecay", config = {{ {settings} }} }}'
    rate = keras_objects.optimizer(described(text), steps=200)._learning_rate
    assert float(rate(20)) == pytest.approx(0.25)
    for step in (40, 120, 199, 200):
        assert float(rate(step)) == pytest.approx(cosine(step - 40, 0.5, 160), abs=1e-6)


def test_a_given_length_of_a_schedule_is_kept():
    settings = "initial_learning_rate = 0.5, decay_steps = 10"
    text = f'class_name = "SGD"\nconfig.learning_rate = {{ class_name = "CosineDecay", config = {{ {settings} }} }}'
    rate = keras_objects.optimizer(described(text), steps=200)._learning_rate
    assert float(rate(5)) == pytest.approx(cosine(5, 0.5, 10), abs=1e-6)
    assert float(rate(10)) == pytest.approx(0.0, abs=1e-6)


def test_a_schedule_without_a_length_is_not_changed():
    settings = "boundaries = [10, 20], values = [0.5, 0.25, 0.125]"
    text = (
        f'class_name = "SGD"\nconfig.learning_rate = {{ class_name = "PiecewiseConstantDecay", config = {{ {settings} }} }}'
    )
    rate = keras_objects.optimizer(described(text), steps=200)._learning_rate
    assert [float(rate(step)) for step in (0, 15, 100)] == [0.5, 0.25, 0.125]


def test_the_default_length_counts_all_epochs():
    text = (
        'class_name = "SGD"\nconfig.learning_rate = { class_name = "CosineDecay", config = {initial_learning_rate = 0.5} }'
    )
    rate = keras_objects.optimizer(described(text), steps=20, epochs=10)._learning_rate
    assert float(rate(100)) == pytest.approx(cosine(100, 0.5, 200), abs=1e-6)


IN_EPOCHS = """
class_name = "zoo>MomentumWithDecay"
[config.learning_rate]
class_name = "training>EpochSteps"
config = { values = [0.1, 0.01], boundaries = [2] }
[config.rates]
fc = 0.5
[config.rates.conv1]
class_name = "training>EpochSteps"
config = { values = [0.2, 0.02, 0.0], boundaries = [1, 3] }
[config.rates.conv2]
class_name = "CosineDecay"
config = { initial_learning_rate = 0.5 }
"""


def test_schedules_in_epochs_get_the_steps_per_epoch_in_layer_rates_too():
    made = keras_objects.optimizer(described(IN_EPOCHS), steps=7, epochs=4)
    assert [float(made._learning_rate(step)) for step in (0, 13, 14, 27)] == pytest.approx([0.1, 0.1, 0.01, 0.01])
    conv1 = made.rates["conv1"]
    assert [float(conv1(step)) for step in (0, 6, 7, 20, 21)] == pytest.approx([0.2, 0.2, 0.02, 0.02, 0.0])
    assert float(made.rates["conv2"](14)) == pytest.approx(cosine(14, 0.5, 28), abs=1e-6)
    assert made.rates["fc"] == 0.5
    with_length = IN_EPOCHS.replace("boundaries = [2]", "boundaries = [2], steps_per_epoch = 100")
    assert float(keras_objects.optimizer(described(with_length), steps=7)._learning_rate(199)) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("boundaries = [1, 3]", "boundaries = [1]", "boundary fewer"),
        ('class_name = "CosineDecay"', 'class_name = "CosineDeccay"', "CosineDeccay"),
        ("fc = 0.5", 'fc = "slow"', "slow"),
    ],
)
def test_a_wrong_rate_of_a_layer_is_named_in_one_line(old, new, named):
    with pytest.raises(ZooError, match=named) as caught:
        keras_objects.optimizer(described(IN_EPOCHS.replace(old, new)), steps=10)
    assert "\n" not in str(caught.value)


def test_thaw_settings_are_refused_if_there_is_no_new_output_layer():
    assert recipe.without_thaw(recipe.load_for_finetuning("lenet5.mnist", "photos")).thaw is None
    changed = recipe.load_for_finetuning("lenet5.mnist", "photos", **{"thaw.epochs": 1})
    with pytest.raises(ZooError, match="no new output layer; remove the setting"):
        recipe.without_thaw(changed)


def test_the_recipe_of_fine_tuning_has_the_light_augmentation_unless_another_is_given():
    (layer,) = recipe.load_for_finetuning("lenet5.mnist", "photos").augmentation
    assert layer.class_name == "training>AffineDistortion"
    assert recipe.load_for_finetuning("lenet5.mnist", "photos", augmentation=[]).augmentation == ()


def test_a_setting_may_have_the_name_of_a_parameter():
    """`--set model=...` sets the key of the recipe, and `--set name_or_path=...` is an unknown key like any other."""
    assert recipe.load_for_finetuning("lenet5.mnist", "photos", model="mine.keras").model == "mine.keras"
    with pytest.raises(ZooError, match="unknown key 'name_or_path'"):
        recipe.load("lenet5-mnist", **{"name_or_path": "x"})


def test_differences():
    """Dotted keys, also of settings in tables that only one recipe has; an empty table is a value."""
    first = {"seed": 1, "data": {"name": "mnist", "repeat": 1}, "thaw": {"epochs": 3}}
    second = {"seed": 1, "data": {"name": "mnist", "repeat": 2}, "options": {}}
    assert recipe.differences(first, second) == {
        "data.repeat": (1, 2),
        "options": ("not given", {}),
        "thaw.epochs": (3, "not given"),
    }
    assert recipe.differences(first, first) == {}
    assert recipe.differences(first, first, second, missing=None)["data.repeat"] == (1, 1, 2)
