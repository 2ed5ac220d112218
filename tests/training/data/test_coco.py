"""COCO's JSON lists as a source."""

import json

import pytest
from PIL import Image

from image_files import GRAY
from training import data
from zoo.errors import ZooError


def coco(path, classes, folder, first=0):
    """Write a list, and the images, whose first pixel is their number; `classes` has the class names of each image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    categories = sorted({name for names in classes.values() for name in names})
    annotations = [
        {"id": 1, "image_id": 100 + image, "category_id": 7 + categories.index(name), "bbox": [0, 0, 1, 1], "iscrowd": 0}
        for image, names in enumerate(classes.values())
        for name in names
    ]
    for number, name in enumerate(classes):
        Image.new("L", (5, 6), first + number).save(folder / name)
    images = [{"id": 100 + number, "file_name": name, "width": 5, "height": 6} for number, name in enumerate(classes)]
    known = [{"id": 7 + number, "name": name, "supercategory": "part"} for number, name in enumerate(categories)]
    known.append({"id": 99, "name": "never used"})
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations, "categories": known}))
    return str(path)


def numbers(samples):
    return samples.images[:, 0, 0, 0].tolist()


def test_a_list_beside_its_images_and_images_with_no_class_or_two(tmp_path):
    classes = {"a.png": ["nut"], "b.png": ["bolt", "bolt"], "c.png": [], "d.png": ["nut", "bolt"], "e.png": ["bolt"]}
    path = coco(tmp_path / "list.json", classes, tmp_path)
    source = data.load(path, GRAY)
    assert source.class_names == ("bolt", "nut") and list(source.splits) == ["all"] and source.root == tmp_path
    samples = source.splits["all"]
    assert samples.names.tolist() == ["a.png", "b.png", "e.png"]
    assert numbers(samples) == [0, 1, 4] and samples.labels.tolist() == [1, 0, 0]
    assert source.problems == [
        f"{path}: 1 image without a class: c.png",
        f"{path}: 1 image with several classes: d.png (bolt, nut)",
    ]
    with pytest.raises(ZooError, match=r"1 image without a class: c\.png"):
        data.load(path, GRAY, strict=True)


def test_many_images_with_two_classes_are_counted(tmp_path):
    classes = {"a.png": ["nut"], **{f"{row}.png": ["nut", "bolt"] for row in range(9)}}
    (problem,) = data.load(coco(tmp_path / "list.json", classes, tmp_path), GRAY).problems
    assert "9 images with several classes: 0.png (bolt, nut), 1.png (bolt, nut), 2.png (bolt, nut) and 6 more" in problem


@pytest.mark.parametrize("images", ["{split}2017", "images/{split}2017", "images", "annotations"])
def test_a_folder_in_the_layout_of_coco(tmp_path, images):
    """With the images where people have them."""
    for number, split in enumerate(("val", "train")):
        path = tmp_path / "annotations" / f"instances_{split}2017.json"
        classes = {f"{split}_a.png": ["nut"], f"{split}_b.png": ["bolt"]}
        coco(path, classes, tmp_path / images.format(split=split), first=10 * number)
    (tmp_path / "annotations" / "captions_train2017.json").write_text("{}")
    source = data.load(str(tmp_path), GRAY)
    assert source.class_names == ("bolt", "nut") and source.problems == [] and source.root == tmp_path
    assert {split: numbers(samples) for split, samples in source.splits.items()} == {"train": [10, 11], "validation": [0, 1]}
    names = [name for samples in source.splits.values() for name in samples.names]
    assert all((tmp_path / name).is_file() for name in names)
    alone = data.load(str(tmp_path / "annotations" / "instances_val2017.json"), GRAY)
    assert list(alone.splits) == ["all"] and numbers(alone.splits["all"]) == [0, 1]


def test_split_folders_with_a_list_in_each(tmp_path):
    for number, split in enumerate(("train", "valid", "test")):
        coco(tmp_path / split / "_annotations.coco.json", {"a.png": ["x"]}, tmp_path / split, first=number)
    source = data.load(str(tmp_path), GRAY)
    assert {split: numbers(samples) for split, samples in source.splits.items()} == {
        "train": [0],
        "validation": [1],
        "test": [2],
    }
    assert source.splits["validation"].names.tolist() == ["valid/a.png"]


def test_lists_with_an_unknown_or_duplicate_split_are_refused(tmp_path):
    for name in ("instances_train.json", "instances_rest.json"):
        coco(tmp_path / "annotations" / name, {"a.png": ["x"]}, tmp_path / "images")
    with pytest.raises(ZooError, match=r"instances_rest\.json: the name does not give a split"):
        data.load(str(tmp_path), GRAY)
    (tmp_path / "annotations" / "instances_rest.json").rename(tmp_path / "annotations" / "instances_train2017.json")
    with pytest.raises(ZooError, match=r"instances_train\.json and .*instances_train2017\.json are both the split train"):
        data.load(str(tmp_path), GRAY)


def test_missing_images_are_skipped_and_named_and_if_all_are_missing_the_searched_folders_are(tmp_path):
    path = coco(tmp_path / "list.json", {"a.png": ["x"], "b.png": ["y"]}, tmp_path / "images")
    (tmp_path / "images" / "a.png").unlink()
    source = data.load(path, GRAY)
    assert source.problems == [f"no file {tmp_path / 'images' / 'a.png'}"] and len(source.splits["all"]) == 1
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(ZooError, match=rf"images not found, such as a\.png; searched in {tmp_path}, {tmp_path}/images"):
        data.load(path, GRAY)


def test_a_file_that_is_listed_twice(tmp_path):
    """With two categories it with several classes, with one it is one image."""
    path = tmp_path / "list.json"
    coco(path, {"a.png": ["nut"], "b.png": ["bolt"], "c.png": ["nut"]}, tmp_path)
    listed = json.loads(path.read_text())
    listed["images"] += [{"id": 1, "file_name": "./a.png"}, {"id": 2, "file_name": "b.png"}]
    listed["annotations"] += [{"image_id": number, "category_id": 7} for number in (1, 2)]  # 7 is bolt
    path.write_text(json.dumps(listed))
    source = data.load(str(path), GRAY)
    assert source.splits["all"].names.tolist() == ["b.png", "c.png"]
    assert source.problems == [f"{path}: 1 image with several classes: a.png (bolt, nut)"]


@pytest.mark.parametrize(("table", "name"), [("images", "file_name"), ("categories", "name")])
def test_duplicate_ids_are_refused(tmp_path, table, name):
    path = tmp_path / "list.json"
    coco(path, {"a.png": ["nut"], "b.png": ["bolt"]}, tmp_path)
    listed = json.loads(path.read_text())
    listed[table].append({"id": listed[table][0]["id"], name: "other"})
    path.write_text(json.dumps(listed))
    with pytest.raises(ZooError, match=rf"two {table} have the id \d+: .* and other"):
        data.load(str(path), GRAY)


def test_the_image_folder_is_the_one_with_most_images(tmp_path):
    """A folder nearer to the list that holds one of the same name is not theirs."""
    path = coco(tmp_path / "list.json", {f"{number}.png": ["x"] for number in range(5)}, tmp_path / "images", first=10)
    Image.new("L", (5, 6), 99).save(tmp_path / "3.png")
    source = data.load(path, GRAY)
    assert source.root == tmp_path / "images" and numbers(source.splits["all"]) == [10, 11, 12, 13, 14]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a COCO list: the file: Invalid JSON"),
        ("[1, 2]", "is not a COCO list"),
        ('{"images": [], "annotations": [], "categories": []}', "lists no images"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', r"images\.0\.file_name: Field required"),
        (
            '{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 2, "category_id": 3}],"categories": []}',
            "an annotation has image 2 and category 3; one of them is not listed",
        ),
        ("[" * 100_000, "is not a COCO list"),
        ('{"images": [{"id": 1, "file_name": "a"}], "annotations": [], "categories": []}', "images not found"),
    ],
)
def test_invalid_lists_are_refused(tmp_path, text, message):
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(ZooError, match=message):
        data.load(str(tmp_path / "list.json"), GRAY)
