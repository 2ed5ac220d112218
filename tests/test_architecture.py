"""Which package may import which: zoo <- training, zoo <- exporters; and their parts as docs/architecture.md maps them."""

import ast
import functools
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("zoo", "training", "exporters")


def is_module(name):
    """Return whether a dotted name is a module or a package of the project, and not something that one contains."""
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


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
            names = {f"{module}.{alias.name}" for alias in node.names}
            found |= names if all(map(is_module, names)) else {module, *names}
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


@functools.cache
def allowed():
    """Return the imports of each part of the map, from its rows: | `part` | what it contains | `part`, `part` |."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \|[^|\n]*\|([^|\n]*)\|$", text, re.MULTILINE)
    return {name: set(re.findall(r"`([\w.]+)`", imported)) for name, imported in rows if name.partition(".")[0] in PACKAGES}


def part(name):
    """Return the part of the map that a dotted name belongs to: the longest one that it begins with."""
    parts, rows = name.split("."), allowed()
    while len(parts) > 1 and ".".join(parts) not in rows:
        parts.pop()
    return ".".join(parts)


@functools.cache
def arrows():
    """Return the parts that each part imports, anywhere in its files."""
    found = {}
    for path in (path for package in PACKAGES for path in files(package)):
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        targets = {part(name) for name in imports(path) if name.partition(".")[0] in PACKAGES}
        found.setdefault(part(module), set()).update(targets - {part(module)})
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


def test_the_map_has_a_row_for_each_subpackage_and_each_module_directly_in_a_package():
    found = {
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for package in PACKAGES
        for path in files(package)
        if path.name == "__init__.py" or path.parent == ROOT / package
    }
    assert found <= set(allowed())
    assert all(map(is_module, allowed()))


@pytest.mark.parametrize("name", allowed())
def test_the_map_has_each_import_and_no_other(name):
    """A new import needs an entry in docs/architecture.md, and an entry that no import needs is removed."""
    found, stated = arrows().get(name, set()), allowed()[name]
    assert found - stated == set(), f"{name} may not import these; see docs/architecture.md"
    assert stated - found == set(), f"{name} no longer imports these; remove them from docs/architecture.md"


def test_no_cycle_among_the_parts():
    """A CycleError names the cycle, each part before the one that imports it."""
    TopologicalSorter(arrows()).prepare()


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
