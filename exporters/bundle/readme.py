"""The page that lies in a bundle: what it is, and what to type on that board."""

import shlex
from importlib import resources
from string import Template

from exporters.precision import Precision

JETPACK = "JetPack brings what they need; where `python3 -c 'import tensorrt'` fails, `sudo apt-get install nvidia-jetpack`."
PLAIN = "They need CUDA, NumPy and TensorRT {version}, from NVIDIA or, where it has it, `pip install tensorrt=={version}.*`."
TABLE = "| `{name}` | ranges of the activations, which DLA takes from here; `model.onnx` is float32 |\n"


def text(bundle, about, plan, folder):
    """Return the page as Markdown.

    Args:
        bundle: dict, what bundle.json holds.
        about: dict, what the ONNX file says about itself.
        plan: `exporters.planner.plan.Plan`.
        folder: name of the bundle's folder.
    """
    target, given, profile = bundle["target"], bundle["input"], bundle["profile"]
    where = f"TensorRT {target['tensorrt']}"
    if target["jetpack"]:
        where = f"JetPack {target['jetpack']} ({where}, Python {target['python']})"
    page = Template((resources.files("exporters.bundle") / "page.md").read_text("utf-8"))
    return page.substitute(
        title=bundle["title"],
        board=target["board"],
        model=bundle["model"],
        precision=Precision(bundle["precision"]).label,
        where=where,
        folder=shlex.quote(folder),
        archive=shlex.quote(f"{folder}.tar.gz"),
        needs=JETPACK if target["jetpack"] else PLAIN.format(version=".".join(target["tensorrt"].split(".")[:2])),
        input=f"`{given['name']}`, (batch, {', '.join(map(str, given['shape']))}) {given['dtype']}, raw pixels of 0 to 255",
        output=bundle["output"]["name"],
        classes=len(about["class_names"]),
        table=TABLE.format(name=bundle["calibration"]) if bundle["calibration"] else "",
        trtexec=plan.trtexec,
        batches=_batches(profile),
        notes="".join(f"\n{each}\n" for each in _notes(plan)),
    )


def _notes(plan):
    """Return sentences about what to expect, and what that rests on."""
    best = plan.estimates[-1]
    told = [
        f"The published peaks of the board allow {best.images_per_second:,.0f} images a second, {best.batch} at a time: an "
        "estimate of the most, which counts no launch of a kernel and was not measured."
    ]
    if plan.placement:
        told.append(f"DLA takes {', '.join(plan.dla_layers)}, as NVIDIA documents it; the other layers run on the GPU.")
    if plan.settings.calibration_table:
        told.append("The ranges of INT8 were proved nowhere yet: `verify.py` on the board does it.")
    return told + [f"Unverified: {each}." for each in plan.settings.warnings]


def _batches(profile):
    if profile["min"] == profile["max"]:
        return f"Batches are of {profile['max']}."
    most = "For less memory give `build_engine.py` a smaller `--max-batch`"
    return f"{profile['min']} to {profile['max']} pictures go at a time, {profile['opt']} are fast. {most} or `--workspace`."
