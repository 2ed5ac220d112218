"""Random inputs for a model without image metadata, chosen by what the model computes for them."""

from collections.abc import Callable, Iterable

import numpy as np

from exporters import samples
from zoo.errors import ZooError

PROBES = 3  # inputs of a family that are tried
LITTLE = 1e-2  # outputs that differ less from each other, relative to the largest, show little about a file
CONSTANT = {"zeros", "ones"}  # families of one input
NOT_FINITE = "the outputs of the model are not finite"
SMALL = 100  # largest magnitude of small integers
SCALES = 1e-2, 1e4, 1e6  # of normal inputs, if those of scale 1 and 100 show little

Family = Callable[[np.random.Generator, int], np.ndarray]  # (generator, n) -> (n, ...) inputs


def families(shape: tuple[int, ...], dtype: str, tables: Iterable[int] = ()) -> tuple[dict[str, Family], dict[str, Family]]:
    """Return the families of inputs of a type, which together cover its meaningful range.

    Args:
        shape: of one input, channels last.
        dtype: of the input, such as "float32".
        tables: numbers of rows of the embeddings of the model.

    Returns:
        Two dicts of name -> function: families that every model is compared on, and families for models that are not
        defined on the former, or whose outputs hardly depend on them.
    """

    def family(draw):
        return lambda generator, count: np.asarray(draw(generator, (count, *shape))).astype(dtype)

    kind = np.dtype(dtype)
    first = {"zeros": lambda _, size: np.zeros(size), "ones": lambda _, size: np.ones(size)}
    indices = {
        f"indices below {rows}": lambda generator, size, rows=rows: generator.integers(0, rows, size)
        for rows in sorted({*tables}, reverse=True)
    }
    if kind.kind == "b":
        first["booleans"] = lambda generator, size: generator.integers(0, 2, size)
        others = {}
    elif kind.kind in "iu":
        first |= _integers(kind) | indices
        others = {"integers from 1 to 100": lambda generator, size: generator.integers(1, SMALL + 1, size)}
    else:
        first |= {
            "standard normal": lambda generator, size: generator.normal(size=size),
            "100 times normal": lambda generator, size: 100 * generator.normal(size=size),
            **indices,
        }
        others = {
            "absolute values of normal": lambda generator, size: np.abs(generator.normal(size=size)),
            "between 0 and 1": lambda generator, size: generator.uniform(size=size),
        }
    first, others = ({name: family(draw) for name, draw in some.items()} for some in (first, others))
    if len(shape) == 3 and shape[2] in (1, 3) and kind.kind in "iuf":
        first["photographs"] = _photographs(shape, dtype)
    return first, others


def _photographs(shape, dtype):
    spec = {**dict(zip(("height", "width", "channels"), shape, strict=True)), "resize": "stretch"}

    def draw(_, count):
        images = samples.shipped(spec, count)
        return samples.in_ranges(images[np.arange(count) % len(images)], dtype)

    return draw


def scaled(shape: tuple[int, ...], dtype: str) -> dict[str, Family]:
    """Return families of normal inputs of extreme scales, for a floating type."""
    scales = [scale for scale in SCALES if 10 * scale < np.finfo(dtype).max] if np.dtype(dtype).kind == "f" else []
    return {
        f"{scale:g} times normal": lambda generator, count, scale=scale: (
            scale * generator.normal(size=(count, *shape))
        ).astype(dtype)
        for scale in scales
    }


def _integers(kind):
    """Return families of integers: the whole range of 8 bits; of more bits, small ones and all orders of magnitude."""
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    if kind.itemsize == 1:
        return {"integers of the whole range": lambda generator, size: generator.integers(low, high + 1, size)}

    def orders(generator, size):
        magnitudes = np.floor(2 ** generator.uniform(0, np.log2(float(high)) - 1e-3, size))
        return magnitudes * generator.choice([-1, 1], size) if low else magnitudes

    return {
        "small integers": lambda generator, size: generator.integers(max(low, -SMALL), SMALL + 1, size),
        "integers of the whole range": orders,
    }


def choose(
    predict: Callable[[np.ndarray], np.ndarray],
    first: dict[str, Family],
    others: dict[str, Family],
    scales: dict[str, Family],
    count: int,
) -> tuple[np.ndarray, dict[str, str]]:
    """Return inputs on which a model is defined and its outputs differ from each other, as far as there are any.

    A few inputs of each family are tried. If the model is not finite or fails on one of them, or the outputs for all
    families hardly differ, other families are tried.

    Args:
        predict: the model, (n, ...) -> (n, ...); raises `ZooError` if it fails.
        first, others: families, as `families` returns them.
        scales: as `scaled` returns them.
        count: number of inputs.

    Returns:
        (n, ...) array, and a dict of the families that were skipped, name -> reason. If no family is left, the inputs are
        those of `first`.

    Raises:
        ZooError: if the model fails on the inputs of every family.
    """
    spreads, skipped = {}, {}

    def probe(some):
        for name, family in some.items():
            try:
                found = spread(predict(family(np.random.default_rng(0), PROBES)))
            except ZooError as error:
                skipped[name] = str(error)
                continue
            if np.isfinite(found):
                spreads[name] = found
            else:
                skipped[name] = NOT_FINITE

    probe(first)
    reported = dict(skipped)
    if reported.keys() - CONSTANT:
        probe(others)
    if not spreads.keys() - CONSTANT:
        if NOT_FINITE not in skipped.values():
            raise ZooError(next(iter(skipped.values())))
        return _draw({name: first[name] for name in first if skipped.get(name, NOT_FINITE) == NOT_FINITE}, count), {}
    if max(spreads.values()) < LITTLE:
        probe(scales)
        best = max(spreads, key=spreads.get)
        spreads = {name: value for name, value in spreads.items() if name not in scales or name == best}
    return _draw(
        {name: family for name, family in {**first, **others, **scales}.items() if name in spreads}, count
    ), reported


def _draw(chosen, count):
    """Return inputs of the families: one each of those that are constant, and equally many of the others."""
    constant = [name for name in chosen if name in CONSTANT][: max(0, count - 1)]
    random = [name for name in chosen if name not in CONSTANT]
    shares = [len(share) for share in np.array_split(np.arange(count - len(constant)), len(random) or 1)]
    sizes = dict.fromkeys(constant, 1) | dict(zip(random, shares, strict=False))
    generator = np.random.default_rng(1)
    return np.concatenate([chosen[name](generator, size) for name, size in sizes.items() if size])


def spread(outputs: np.ndarray) -> float:
    """Return the largest difference between the outputs for different inputs, relative to the largest magnitude.

    Args:
        outputs: (n, ...) array.

    Returns:
        float: 0 if all outputs are equal or zero; NaN if one is not finite.
    """
    outputs = np.asarray(outputs, "float64")
    if not np.isfinite(outputs).all():
        return float("nan")
    largest = np.abs(outputs).max(initial=0)
    return float(np.ptp(outputs, axis=0).max(initial=0) / largest) if largest and len(outputs) else 0.0
