"""Which package may import which: zoo <- training, zoo <- exporters, and no other way."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("zoo", "training", "exporters")


def imports(path, at_module_level=False):
    """Return the dotted names that a file imports: all, or those at module level, which are imported with the file."""
    found = set()
    waiting = [ast.parse(path.read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            module = ".".join((*package, *([node.module] if node.module else ())))
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
        elif at_module_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        elif at_module_level and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)  # its body is for type checkers and does not run
            continue
        waiting.extend(ast.iter_child_nodes(node))
    return found


def files(package):
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def importers(package, of, **options):
    """Return the files of a package that import one of the packages in `of`."""
    return [
        str(path.relative_to(ROOT))
        for path in files(package)
        if {name.partition(".")[0] for name in imports(path, **options)} & set(of)
    ]


@pytest.mark.parametrize(
    "package, forbidden",
    [("zoo", ("training", "exporters")), ("training", ("exporters",)), ("exporters", ("training",))],
)
def test_arrows(package, forbidden):
    assert importers(package, forbidden) == []


@pytest.mark.parametrize("package", ["training", "exporters"])
def test_arrows_that_are_there(package):
    """The reading of imports sees something."""
    assert importers(package, ["zoo"])


def test_nothing_imports_the_tests_or_the_documents():
    for package in PACKAGES:
        assert importers(package, ["tests", "docs", "benchmarks"]) == []


def test_models_run_on_any_backend():
    """A net, a layer or a loss knows Keras and no backend of it."""
    assert importers("zoo", ["tensorflow", "jax", "torch"]) == []


def test_names_and_cards_do_not_wait_for_keras():
    """What `import zoo` and `zoo list` load imports Keras inside functions alone."""
    waiting, seen = ["zoo", "zoo.cli", "zoo.commands"], set()
    while waiting:
        module = waiting.pop()
        path = ROOT.joinpath(*module.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if module in seen or not path.is_file():
            continue
        seen.add(module)
        found = imports(path, at_module_level=True)
        assert not {name.partition(".")[0] for name in found} & {"keras", "tensorflow", "jax"}, module
        waiting += [name for name in found if name.startswith("zoo.")]
    assert {"zoo.registry", "zoo.errors"} <= seen


def test_reading_of_imports(tmp_path, monkeypatch):
    """Every way of writing an import is seen."""
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    path = tmp_path / "zoo" / "layers" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import a.b as c\nfrom .. import d\nfrom .e import f\nif c:\n    import g\ndef h():\n    from i import j\n"
        "if TYPE_CHECKING:\n    import k\nelse:\n    import l\n"
    )
    top = {"a.b", "zoo", "zoo.d", "zoo.layers.e", "zoo.layers.e.f", "g", "l"}
    assert imports(path, at_module_level=True) == top
    assert imports(path) == top | {"i", "i.j", "k"}
