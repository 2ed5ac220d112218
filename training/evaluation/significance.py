"""Whether runs answered the same pictures, and whether the difference of their answers can be chance."""

import numpy as np

from zoo import registry

CHANCE = 0.05  # a difference that chance alone makes more often than this proves nothing


def same_pictures(first, second):
    """Tell whether two runs answered the same pictures of the same classes: True, False, or None where nobody can tell.

    The pixels decide, where both read pictures the same way. Else all pixels differ: then other files of one folder are
    others, and the rest cannot be known, as a file may have been replaced.

    Args:
        first, second: `training.report.runs.Run` with answers.
    """
    one, other = first.answers, second.answers
    if one.split != other.split or _true(one) != _true(other):
        return False
    if one.hashes == other.hashes:
        return True
    if _read_as(first) == _read_as(second) or (_same_data(first, second) and one.images != other.images):
        return False
    return None


def _true(answers):
    return [answers.class_names[label] for label in answers.labels]


def _read_as(run):
    """Return what the size of a run's pictures follows from: a format and what is cut of it, or else the model's name."""
    model = run.recipe["model"]
    picture = run.recipe.get("picture") or registry.raw_cards().get(model, {}).get("picture", model)
    return picture, "training>RandomCrop" in [each["class_name"] for each in run.recipe.get("augmentation", ())]


def _same_data(first, second):
    return first.recipe["data"].get("name") == second.recipe["data"].get("name")


def tests(first, others):
    """Test whether the difference of each run to the first can be chance, by McNemar's exact test, with Holm's correction.

    What counts is what one of the two alone has right. Of many tests some find a difference by chance, so the bound for
    each is the tighter the more there are.

    Args:
        first, others: `Run`, and a list of them. Those that cannot be compared with the first picture by picture are left
            out; where nobody can tell, files of the same data and names are supposed to be the same.

    Returns:
        list of dicts of plain values: `p` of the test alone, `p_corrected`, and what was counted.

    References:
        McNemar (1947), Note on the sampling error of the difference between correlated proportions or percentages.
        Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    tested = [_test(first, run, same) for run in others if (same := _comparable(first, run))]
    corrected = holm([each["p"] for each in tested])
    for each, p in zip(tested, corrected, strict=True):
        one, other = each["runs"]
        better = other if each["only_second_right"] > each["only_first_right"] else one
        value = f"p = {p:.2g}" + (f" by Holm's correction for {len(tested)} tests" if len(tested) > 1 else "")
        verdict = "this can be chance" if p > CHANCE else f"{better} is better, and chance alone would hardly do that"
        each["p_corrected"] = p
        each["words"] = (
            f"of {each['pictures']:,} pictures{'' if each['same'] else ', supposed to be the same,'} {other} is right on "
            f"{each['only_second_right']:,} that {one} has wrong, and wrong on {each['only_first_right']:,} that it has "
            f"right: {verdict} ({value})"
        )
    return tested


def _comparable(first, second):
    """Return "known" or "supposed", or "" where two runs are not asked the same."""
    if not (first.answers and second.answers):
        return ""
    same = same_pictures(first, second)
    return "known" if same else "supposed" if same is None and _same_data(first, second) else ""


def _test(first, second, same):
    from scipy.stats import binomtest

    right = [run.answers.predictions == run.answers.labels for run in (first, second)]
    only_first, only_second = int(np.sum(right[0] & ~right[1])), int(np.sum(right[1] & ~right[0]))
    p = float(binomtest(only_first, only_first + only_second).pvalue) if only_first + only_second else 1.0
    return {
        "runs": [str(first.folder), str(second.folder)],
        "pictures": len(right[0]),
        "same": same == "known",
        "only_first_right": only_first,
        "only_second_right": only_second,
        "p": p,
    }


def holm(p):
    """Return p-values with Holm's correction: the smallest of m times m, the next times m - 1, and none below an earlier."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1, np.maximum.accumulate(np.array(p)[order] * np.arange(len(p), 0, -1)))
    return corrected.tolist()
