"""The README of a bundle: its content, and the commands to run on the board."""

import shlex
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from exporters.precision import Precision

if TYPE_CHECKING:
    from exporters.planner.plan import Plan

JETPACK = "JetPack includes what they need; if `python3 -c 'import tensorrt'` fails: `sudo apt-get install nvidia-jetpack`."
CARD = "They need CUDA, NumPy and TensorRT {version}, from NVIDIA or, where available, `pip install tensorrt=={version}.*`."
TABLE = "| `{name}` | ranges of the activations for the DLA; `model.onnx` is float32 |\n"


def text(bundle: dict, about: dict, plan: "Plan", folder: str) -> str:
    """Return the README as Markdown.

    Args:
        bundle: content of bundle.json.
        about: metadata of the ONNX file.
        plan: `exporters.planner.plan.Plan`.
        folder: name of the bundle's folder.
    """
    target, model_input, profile = bundle["target"], bundle["input"], bundle["profile"]
    where = f"TensorRT {target['tensorrt']}"
    if target["jetpack"]:
        where = f"JetPack {target['jetpack']} ({where}, Python {target['python']})"
    shape = ", ".join(map(str, model_input["shape"]))
    page = Template((resources.files("exporters.bundle") / "page.md").read_text("utf-8"))
    return page.substitute(
        title=bundle["title"],
        board=target["board"],
        model=bundle["model"],
        precision=Precision(bundle["precision"]).label,
        where=where,
        folder=shlex.quote(folder),
        archive=shlex.quote(f"{folder}.tar.gz"),
        needs=JETPACK if target["jetpack"] else CARD.format(version=".".join(target["tensorrt"].split(".")[:2])),
        input=f"`{model_input['name']}`, (batch, {shape}) {model_input['dtype']}, raw 0-255 pixels",
        output=bundle["output"]["name"],
        classes=len(about["class_names"]),
        table=TABLE.format(name=bundle["calibration"]) if bundle["calibration"] else "",
        trtexec=plan.trtexec,
        batches=_batches(profile),
        notes="".join(f"\n{each}\n" for each in _notes(plan, bundle["note"])),
    )


def _notes(plan, note):
    """Return sentences about the expected performance, the weights and unverified facts."""
    best = plan.estimates[-1]
    notes = [
        f"The published peaks of the board allow at most {best.images_per_second:,.0f} images per second in batches of "
        f"{best.batch}. This is an estimate without the time to launch kernels; it was not measured."
    ]
    if plan.placement:
        layers = ", ".join(plan.dla_layers)
        notes.append(f"According to NVIDIA's documentation the DLA takes {layers}; other layers run on the GPU.")
    if plan.settings.calibration_table:
        notes.append("The ranges of INT8 have not been verified yet: `verify.py` does that on the board.")
    if note:
        notes.append(f"{note[0].upper()}{note[1:]}; `verify.py --cpu` does.")
    return notes + [f"Unverified: {each}." for each in plan.settings.warnings]


def _batches(profile):
    if profile["min"] == profile["max"]:
        return f"The batch size is {profile['max']}."
    memory = "To use less memory, run `build_engine.py` with a smaller `--max-batch` or `--workspace`"
    return f"Batches of {profile['min']} to {profile['max']} images run, those of {profile['opt']} are fastest. {memory}."
