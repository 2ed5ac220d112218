"""All steps in one run: pretrained LeNet-5, a folder of real scans, fine-tuning, export to ONNX, verification, prediction.

The images are scikit-learn's 1,797 handwritten digits of 8x8 pixels, scanned from forms of the 1990s.
"""

import os
import shutil
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

FOLDER = Path("demo")
MODEL = "lenet5.mnist"


def main():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    start = time.perf_counter()
    console = Console(highlight=False)
    if FOLDER.exists() and not (FOLDER / "digits").is_dir():
        raise SystemExit(f"{FOLDER} exists and was not written by this demo; run it in another folder")
    shutil.rmtree(FOLDER, ignore_errors=True)

    console.rule("1. A folder of images, one subfolder per class")
    write_digits(FOLDER / "digits")
    console.print(f"wrote {sum(1 for _ in FOLDER.rglob('*.png')):,} images to {FOLDER / 'digits'}")

    console.rule(f"2. {MODEL}, fine-tuned on these images")
    from zoo import cli

    cli.start_keras()
    import exporters
    import training
    import zoo
    from zoo import images

    metrics = training.finetune(MODEL, FOLDER / "digits", FOLDER / "run", console=console)

    console.rule("3. Export to ONNX, verified against Keras")
    file = FOLDER / "digits.onnx"
    shutil.copy(FOLDER / "run" / "best.keras", FOLDER / "digits.keras")
    exporters.to_onnx(FOLDER / "digits.keras", file, data=FOLDER / "digits")
    report = exporters.verify(file, data=FOLDER / "digits")
    report.raise_if_failed()
    console.print(f"{report.images} images: the same labels, scores within {report.largest_difference:.1e}")

    console.rule("4. Predictions")
    classifier = zoo.load(FOLDER / "digits.keras")
    for digit in ("3", "5", "8"):
        path = next((FOLDER / "digits" / digit).glob("*.png"))
        scores = classifier.predict(images.read(path, classifier.image_spec)[None], verbose=0)[0]
        console.print(f"{path}: {classifier.class_names[scores.argmax()]}")

    table = Table(title="\nLeNet-5 of 1998 on your own images", show_header=False)
    table.add_row("accuracy before", f"{metrics['accuracy_before']:.2f} %  ({metrics['pictures']} test images)")
    table.add_row("accuracy after", f"{metrics['accuracy']:.2f} %")
    table.add_row("file", f"{file}, {file.stat().st_size:,} bytes")
    table.add_row("parity", f"{report.flipped_labels} labels differ, scores within {report.largest_difference:.1e}")
    table.add_row("time", f"{time.perf_counter() - start:.0f} s")
    console.print(table)
    console.print(f"next: .venv/bin/zoo predict {FOLDER / 'digits.keras'} {FOLDER / 'digits' / '7'}")


def write_digits(folder):
    """Write scikit-learn's digits as PNG files, one subfolder per class."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (scan, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        place = folder / str(digit)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((scan * (255 / 16)).astype("uint8")).save(place / f"{number:04}.png")


if __name__ == "__main__":
    main()
