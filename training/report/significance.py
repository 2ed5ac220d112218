"""McNemar's test with Holm's correction: whether the difference between two evaluations is statistically significant."""

import numpy as np

from training.report.runs import Run
from zoo import registry

SIGNIFICANCE_LEVEL = 0.05


def same_images(first: Run, second: Run) -> bool | None:
    """Return whether two runs were evaluated on the same images with the same classes.

    Identical digests of the pixels prove that the images are the same. If the two models read images in different sizes, the
    digests differ even for the same files. Then different names in the same data set mean different images, and otherwise
    the answer is unknown, because a file may have been replaced.

    Args:
        first: a run with an evaluation.
        second: another run with an evaluation.

    Returns:
        True, False, or None if unknown.
    """
    one, other = first.evaluation, second.evaluation
    if one.split != other.split or _true_classes(one) != _true_classes(other):
        return False
    if one.digests == other.digests:
        return True
    if _image_format(first) == _image_format(second) or (_same_data(first, second) and one.images != other.images):
        return False
    return None


def _true_classes(evaluation):
    return [evaluation.class_names[label] for label in evaluation.labels]


def _image_format(run):
    """Return what determines the size of a run's images: their format and whether they are cropped, or the model's name."""
    model = run.recipe["model"]
    image_spec = run.recipe.get("picture") or registry.raw_cards().get(model, {}).get("picture", model)
    return image_spec, "training>RandomCrop" in [layer["class_name"] for layer in run.recipe.get("augmentation", ())]


def _same_data(first, second):
    return first.recipe["data"].get("name") == second.recipe["data"].get("name")


def mcnemar_tests(first: Run, others: list[Run]) -> list[dict]:
    """Test each run against the first one by McNemar's exact test, with Holm's correction for several tests.

    The test compares the number of images that only one of the two runs classifies correctly. Of many tests, some find a
    difference by chance; the correction allows for that.

    Args:
        first: the run to compare with.
        others: the other runs. Runs evaluated on other images are skipped. If it is unknown whether the images are the same,
            files with the same names in the same data set are assumed to be.

    Returns:
        list of dicts with plain values: `runs`, `pictures`, `same`, `only_first_right`, `only_second_right`, `p`,
        `p_corrected`, and `words`, the result as a sentence.

    References:
        McNemar (1947), Note on the sampling error of the difference between correlated proportions or percentages.
        Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    tests = [_test(first, run, same) for run in others if (same := _comparable(first, run))]
    corrected = holm_correction([test["p"] for test in tests])
    for test, p in zip(tests, corrected, strict=True):
        one, other = test["runs"]
        better = other if test["only_second_right"] > test["only_first_right"] else one
        value = f"p = {p:.2g}" + (f" with Holm's correction for {len(tests)} tests" if len(tests) > 1 else "")
        verdict = "the difference is not significant" if p > SIGNIFICANCE_LEVEL else f"{better} is significantly better"
        assumed = "" if test["same"] else ", assumed to be the same,"
        test["p_corrected"] = p
        test["words"] = (
            f"of {test['pictures']:,} images{assumed} {test['only_second_right']:,} are classified correctly by {other} "
            f"only and {test['only_first_right']:,} by {one} only: {verdict} ({value})"
        )
    return tests


def _comparable(first, second):
    """Return "known" or "assumed", or "" if two runs were not evaluated on the same images."""
    if not (first.evaluation and second.evaluation):
        return ""
    same = same_images(first, second)
    return "known" if same else "assumed" if same is None and _same_data(first, second) else ""


def _test(first, second, same):
    from scipy.stats import binomtest

    correct = [run.evaluation.predictions == run.evaluation.labels for run in (first, second)]
    only_first, only_second = int(np.sum(correct[0] & ~correct[1])), int(np.sum(correct[1] & ~correct[0]))
    p = float(binomtest(only_first, only_first + only_second).pvalue) if only_first + only_second else 1.0
    return {
        "runs": [str(first.folder), str(second.folder)],
        "pictures": len(correct[0]),
        "same": same == "known",
        "only_first_right": only_first,
        "only_second_right": only_second,
        "p": p,
    }


def holm_correction(p: list[float]) -> list[float]:
    """Return p-values with Holm's correction: m times the smallest of m, m - 1 times the next, and so on, not decreasing."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(np.array(p)[order] * np.arange(len(p), 0, -1)))
    return corrected.tolist()
