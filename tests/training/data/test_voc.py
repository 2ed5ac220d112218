"""A folder as of PASCAL VOC as a source."""

import pytest
from PIL import Image

from image_files import GRAY
from training import data
from zoo.errors import ZooError

LISTS = {  # class and split, then a sign for each of images 0 to 5; the class "train" is one of VOC's own
    "bolt_train": "1 -1  1 -1",
    "train_train": "-1  1  1  0",
    "bolt_val": "    0  1",
    "train_val": "   1 -1",
}


@pytest.fixture
def voc(tmp_path):
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for number in range(6):
        suffix = "jpg" if number % 2 else "PNG"
        Image.new("L", (5, 6), 40 * number).save(tmp_path / "JPEGImages" / f"2008_{number}.{suffix}")
    for name, signs in LISTS.items():
        first = 4 if name.endswith("val") else 0
        lines = [f"2008_{first + number} {sign:>2}" for number, sign in enumerate(signs.split())]
        (tmp_path / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    for name in ("train.txt", "val.txt", "trainval.txt", "train_trainval.txt"):  # these say nothing of classes, or all twice
        (tmp_path / "ImageSets" / "Main" / name).write_text("2008_0\n")
    return tmp_path


def test_a_folder_in_the_layout_of_voc(voc):
    source = data.load(str(voc), GRAY)
    assert source.class_names == ("bolt", "train") and list(source.splits) == ["train", "validation"]
    assert {split: samples.names.tolist() for split, samples in source.splits.items()} == {
        "train": ["JPEGImages/2008_0.PNG", "JPEGImages/2008_1.jpg"],
        "validation": ["JPEGImages/2008_4.PNG", "JPEGImages/2008_5.jpg"],
    }
    assert [samples.labels.tolist() for samples in source.splits.values()] == [[0, 1], [1, 0]]
    assert [samples.images[:, 0, 0, 0].tolist() for samples in source.splits.values()] == [[0, 40], [160, 200]]
    assert source.problems == [
        f"{voc}, split train: 1 image without a class: 2008_3",
        f"{voc}, split train: 1 image with several classes: 2008_2 (bolt, train)",
    ]


def test_a_missing_image_is_named(voc):
    (voc / "JPEGImages" / "2008_5.jpg").unlink()
    source = data.load(str(voc), GRAY)
    assert f"{voc}, split validation: no image 2008_5 in {voc / 'JPEGImages'}" in source.problems
    assert len(source.splits["validation"]) == 1


@pytest.mark.parametrize("line", ["2008_0", "2008_0 2", "2008_0 1 1", "2008 0 1"])
def test_an_invalid_line_is_refused_with_its_number(voc, line):
    path = voc / "ImageSets" / "Main" / "bolt_train.txt"
    path.write_text(f"2008_1 1\n\n{line}\n")
    with pytest.raises(ZooError, match=rf"bolt_train\.txt line 3 is '{line}'; expected the name of an image and 1,"):
        data.load(str(voc), GRAY)


def test_a_folder_without_class_lists_is_refused(voc):
    for name in LISTS:
        (voc / "ImageSets" / "Main" / f"{name}.txt").unlink()
    with pytest.raises(ZooError, match=r"has no class lists; expected files such as bolt_train\.txt"):
        data.load(str(voc), GRAY)
