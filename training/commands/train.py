"""The commands `zoo train`, `experiment`, `finetune`, `evaluate` and `predict`."""

import inspect
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from training import CHECKPOINT_SECONDS
from zoo import cli
from zoo.console import Json, Model, Strict, note_random_weights, print_skipped
from zoo.errors import ZooError

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe, such as seed=2 or data.validation=0.2."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")]
Precision = Annotated[
    str | None, typer.Option(metavar="float32|bfloat16|float16", help="In which the net multiplies while it learns.")
]
Devices = Annotated[int | None, typer.Option(min=1, help="How many GPUs of this machine share each batch.")]
Every = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Between two checkpoints within an epoch.")]
DATA = "A folder with a folder of pictures a class, a list (.csv, COCO's .json), a TFDS name, or drawn:NAME."

FOR_DATA = ("tensorflow",)  # by which TFDS reads and TensorBoard's files are written, on JAX too
MOST_CLASSES = 30  # of which each has its error printed


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a packaged recipe, or a .toml file.")],
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; by default runs/RECIPE.")] = None,
    precision: Precision = None,
    devices: Devices = None,
    checkpoint_every: Every = CHECKPOINT_SECONDS,
    resume: Resume = False,
    num_processes: Annotated[int | None, typer.Option(min=1, help="How many processes train as one, on JAX.")] = None,
    process_id: Annotated[int | None, typer.Option(help="Which of them this is; 0 writes the run folder.")] = None,
    coordinator: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where they reach process 0.")] = None,
    join_within: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="For how long they wait for each other.")] = 60,
):
    """Train a model as a recipe says, into a run folder.

    Example: zoo train lenet5-mnist --set seed=2 --out runs/lenet5-2
    """
    from training import recipe as recipes

    checked = recipes.load(recipe, **_changes(settings, precision=precision))
    out = out or Path("runs") / Path(recipe).stem

    def run(placement):
        from training.engine.fit import fit

        if not placement.writes:
            print(f"process {process_id} of {num_processes}; process 0 speaks for all and writes {out}", flush=True)
        where = {"checkpoint_every": checkpoint_every, "placement": placement}
        if metrics := _resumable(out, fit, checked, out, resume, command=_typed(), **where):
            _conclude(metrics, out)

    if (num_processes, process_id, coordinator) != (None, None, None):
        from training.distributed import multi_process, supervisor

        multi_process.check(num_processes, process_id, coordinator, devices)
        where = num_processes, process_id, coordinator, join_within
        supervisor.run(lambda: run(multi_process.join(*where)), *where, again=f"{_typed()} --resume")
    cli.start_keras(also=FOR_DATA)
    run(_placement(devices))


def experiment(
    name: Annotated[str | None, typer.Argument(help="Which; without a name, all are listed.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many starts, where there are several.")] = None,
    data: Annotated[str | None, typer.Option(help="A folder or TFDS name, for an experiment that learns from one.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder for result.json and pictures; by default runs/NAME.")] = None,
):
    """Re-obtain what is not one training run: success rates over many starts, responses by shift.

    Example: zoo experiment backprop1986 --seeds 20
    """
    from training import experiments

    if name is None:
        for each in experiments.names():
            print(f"{each:18} {experiments.summary(each)}")
        print(f"\nnext: zoo experiment {experiments.names()[0]}", file=sys.stderr)
        return
    experiments.check(name)
    cli.start_keras()
    out = out or Path("runs") / name
    out.mkdir(parents=True, exist_ok=True)
    run = experiments.load(name).run
    given = {key: value for key, value in (("seeds", seeds), ("data", data)) if value is not None}
    if "data" in given and "data" not in inspect.signature(run).parameters:
        raise ZooError(f"the experiment {name} makes its own data; leave out --data")
    run(out, **given)
    print("in", out, "are", ", ".join(sorted(file.name for file in out.iterdir())))


def finetune(
    model: Model,
    data: Annotated[str, typer.Option(help=DATA)],
    out: Annotated[Path, typer.Option(help="The run folder.")],
    settings: Settings = None,
    augment: Annotated[
        str | None, typer.Option(metavar="none|light|photos", help="How pictures are distorted; photos mirrors them too.")
    ] = None,
    balance: Annotated[bool, typer.Option("--balance", help="Show each class as often as the others.")] = False,
    strict: Strict = False,
    precision: Precision = None,
    devices: Devices = None,
    checkpoint_every: Every = CHECKPOINT_SECONDS,
    resume: Resume = False,
):
    """Fine-tune a model on your own pictures; leaves best.keras and a report in the run folder.

    Example: zoo finetune lenet5.mnist --data photos --out runs/photos
    """
    from training import recipe as recipes
    from training.augmentation import presets

    distortions = None if augment is None else presets.get(augment)
    changes = _changes(settings, precision=precision, augmentation=distortions, **{"data.balance": balance or None})
    recipes.load("finetune", **changes)  # a wrong word is told before Keras is there
    cli.start_keras(model, FOR_DATA)
    from training.engine.finetune import finetune as run

    where = {"checkpoint_every": checkpoint_every, "placement": _placement(devices)}
    metrics = _resumable(out, run, model, data, out, resume, strict, command=_typed(), **where, **changes)
    print_skipped(metrics["left_out"])
    before = metrics["accuracy_before"]
    print(f"accuracy before: {f'{before:.2f} %' if before is not None else 'none, the classes are new'}")
    if before is not None and before > metrics["accuracy"]:
        print(f"note: on these pictures {model} was better{_slower(metrics['recipe'])}")
    _conclude(metrics, out)


def evaluate(
    model: Model,
    data: Annotated[str, typer.Option(help=DATA)],
    split: Annotated[
        str, typer.Option("--split", "--part", help="Split of the data to evaluate on. Data without splits are used whole.")
    ] = "test",
    views: Annotated[
        int, typer.Option(metavar="1|10", help="10: mean probabilities of corners, middle and their mirror images.")
    ] = 1,
    strict: Strict = False,
    as_json: Json = False,
):
    """Measure how often a model is right.

    Example: zoo evaluate lenet5.mnist --data mnist
    """
    cli.start_keras(model, FOR_DATA)
    from training.evaluation.evaluate import evaluate as measure
    from zoo import registry

    note_random_weights(model)
    classifier = registry.load(model)
    evaluation, problems = measure(classifier, data, split, strict, views)
    summary = evaluation.summary()
    if as_json:
        print(json.dumps({"model": model, "data": data, **summary, "left_out": problems}, indent=2))
        return
    print_skipped(problems)
    by_views = f", {views} views of each" if views > 1 else ""
    print(f"{model} on {data} ({evaluation.split}): {summary['wrong']} wrong of {summary['pictures']:,}{by_views}")
    if evaluation.split == "all":
        print("these are all of the pictures; had the model learned from some of them, this says too much")
        listed = Path(model).parent / "split.csv"
        if registry.is_path(model) and listed.exists():
            print(f"the test pictures of its run alone: {shlex.join(['zoo', 'evaluate', model, '--data', str(listed)])}")
    top5 = f"top-5 error {summary['top5_error']:.2f} %, " if "top5_error" in summary else ""
    print(f"error {summary['error']:.2f} %, {top5}accuracy {summary['accuracy']:.2f} %, {summary['seconds']:.1f} s")
    print(evaluation.describe_interval())
    by_class = [(name, error) for name, error in summary["error_by_class"].items() if error is not None]
    worst = sorted(by_class, key=lambda each: -each[1])[:MOST_CLASSES]
    what = (
        "error by class" if len(worst) == len(by_class) else f"error of the {len(worst)} worst of {len(by_class):,} classes"
    )
    shown = by_class if len(worst) == len(by_class) else worst
    print(f"{what}, %: {', '.join(f'{name} {error:.1f}' for name, error in shown)}")
    name = "model" if registry.is_path(model) else model
    print(f"next: zoo export {model} --to onnx --out {name}.onnx")


def predict(
    model: Model,
    pictures: Annotated[list[Path], typer.Argument(help="Picture files, or folders of them.")],
    strict: Strict = False,
    as_json: Json = False,
):
    """Say what is on pictures.

    Example: zoo predict lenet5.mnist seven.png photos/
    """
    cli.start_keras(model)
    from training.evaluation import evaluate as evaluation
    from zoo import images as reading
    from zoo import registry

    paths = [path for given in pictures for path in (reading.find(given) if given.is_dir() else [given])]
    note_random_weights(model)
    classifier = registry.load(model)
    read, kept, problems = reading.read_all(paths, classifier.image_spec, strict)
    if not kept:
        raise reading.ImageError(f"none of the pictures can be read; {problems[0]}")
    scores = evaluation.predict(classifier, read)
    answers = [
        {"picture": str(paths[index]), "class": classifier.class_names[row.argmax()], "scores": row.tolist()}
        for index, row in zip(kept, scores, strict=True)
    ]
    if as_json:
        print(json.dumps({"model": model, "answers": answers, "left_out": problems}, indent=2))
    else:
        for answer, row in zip(answers, scores, strict=True):
            second, first = row.argsort()[-2:] if len(row) > 1 else (None, 0)
            runner_up = f", then {classifier.class_names[second]}" if second is not None else ""
            lead = f"(leads by {row[first] - row[second]:.2f})" if second is not None else ""
            print(f"{answer['picture']}: {answer['class']}{runner_up} {lead}")
        print_skipped(problems)


def _changes(settings, **options):
    """Return what a command line changes of a recipe: by its own options, and by --set, which has the last word."""
    from training import recipe as recipes

    given = {key: value for key, value in options.items() if value is not None}
    return {**given, **dict(map(recipes.parse_setting, settings or ()))}


def _placement(devices):
    """Return where a run computes: `training.distributed.strategy.Placement`."""
    from training.distributed.strategy import Placement

    if devices in (None, 1):
        return Placement()
    import keras

    if keras.backend.backend() == "jax":
        from training.distributed.multi_process import Parallel

        return Parallel(devices)
    from training.distributed.devices import Mirrored

    return Mirrored(devices)


def _typed():
    """Return the command that was typed, less --resume, with which it can be given again."""
    return shlex.join(["zoo", *(word for word in sys.argv[1:] if word != "--resume")])


def _resumable(out, run, *given, **named):
    """Run, and on Ctrl-C or SIGTERM say how to go on."""
    try:
        return run(*given, **named)
    except KeyboardInterrupt:
        if not named["placement"].writes:
            print("\nstopped, as all processes of the run")
        elif (out / "last.npz").exists():
            print(f"\nstopped; what is learned is kept. To go on: {_typed()} --resume")
        else:
            print("\nstopped before the first step was taken; there is nothing to keep")
        # TensorFlow's threads are still at work, and the interpreter's own end may crash beside them.
        sys.stdout.flush()
        os._exit(1)
    except OSError:  # a full disk, for one
        if (out / "last.npz").exists():
            print(f"what was kept before stays. To go on, once that is mended: {_typed()} --resume")
        raise


def _conclude(metrics, out):
    """Say what a run has reached, how sure that is, and what to do next."""
    from training.evaluation.metrics import describe_interval

    print(_result(metrics))
    print(describe_interval(metrics["wrong"], metrics["pictures"], metrics["part"]))
    best = out / "best.keras"
    print(f"look at {out / 'report.html'}")
    print(f"next: {shlex.join(['zoo', 'export', str(best), '--to', 'onnx', '--out', str(best.with_suffix('.onnx'))])}")


def _slower(recipe):
    """Return the advice to learn at a tenth of a recipe's rate, where that is one number that decays."""
    try:
        rate = recipe["optimizer"]["config"]["learning_rate"]["config"]["initial_learning_rate"]
        return f"; try --set optimizer.config.learning_rate.config.initial_learning_rate={rate / 10:g}"
    except (KeyError, TypeError):  # a rate that is a number, or another schedule
        return "; try a smaller rate"


def _result(metrics):
    validation = f"validation error {metrics['validation_error']:.2f} %, " if "validation_error" in metrics else ""
    return (
        f"{metrics['part']} error {metrics['error']:.2f} % ({metrics['wrong']} of {metrics['pictures']:,}), "
        f"{validation}best epoch {metrics['best_epoch']}, {metrics['wall_seconds']:.0f} s"
    )
