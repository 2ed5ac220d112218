"""The documentation agrees with the cards, the recipes and the commands."""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from typer.main import get_command

import zoo
from training import recipe
from zoo import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page, pattern):
    """Return the commands of `zoo` on a page that a pattern finds, as lists of words without comments."""
    found = re.findall(pattern, page.read_text("utf-8"), re.MULTILINE)
    return [shlex.split(line.rstrip("&"), comments=True)[1:] for line in found]


def parser(name):
    """Return the command of a name, as the command line calls it."""
    found = get_command(cli.app).get_command(None, name)
    assert found, f"no command zoo {name}"
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_in_code_blocks_can_be_given(page):
    """Each is parsed as a user's would be: names, options, their values, and what must not be missing."""
    for name, *words in commands(page, r"^(?: {4}){1,2}(zoo [a-z].*)$"):
        parser(name).make_context(name, words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_options_in_sentences_exist(page):
    for name, *words in commands(page, r"`(zoo [a-z][^`]*)`"):
        known = {option for parameter in parser(name).params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, name


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_nobody_is_sent_to_an_index_that_does_not_have_the_package():
    for page in PAGES:
        assert "install 'history-zoo" not in page.read_text("utf-8"), page


def test_the_tables_of_models_are_those_of_the_cards():
    done = subprocess.run([sys.executable, str(ROOT / "docs" / "models.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# One is for a user's own data. The others were not run, because they need ImageNet, as their headers say.
WITHOUT_NUMBERS = ("finetune", "alexnet-2012", "alexnet-asrun-2012")


@pytest.mark.parametrize("name", [name for name in recipe.names() if name not in WITHOUT_NUMBERS])
def test_a_recipes_header_states_what_its_card_measured(name):
    """Value, or mean and spread, and seeds stand in both; the recipe's comment is for its reader."""
    text = resources.files("training.recipes").joinpath(f"{name}.toml").read_text("utf-8")
    line = r"^# Measured: (\d+\.\d\d(?: ± \d+\.\d\d)?) % test error, (seeds 1 to 3|seed 1);"
    found = re.findall(line, text, re.MULTILINE)
    assert len(found) == 1, (
        f"{name}.toml has {len(found) or 'no'} line `# Measured: X.XX ± X.XX % test error, seeds 1 to 3; ...` or, for one "
        "seed, `# Measured: X.XX % test error, seed 1; ...`; a recipe that was not run says `# Not run here: ...` and is "
        "listed in WITHOUT_NUMBERS in tests/test_readme.py"
    )
    ((stated, seeds),) = found
    model = recipe.load(name).model
    results = [each for each in zoo.card(model).measured if each.recipe == name]
    assert len(results) == 1, (
        f"zoo/cards/{model}.toml has {len(results)} [[measured]] of the recipe {name}, not 1; training.publish adds them"
    )
    (measured,) = results
    assert stated == (f"{measured.mean:.2f} ± {measured.spread:.2f}" if len(measured.values) > 1 else f"{measured.mean:.2f}")
    assert measured.seeds == ((1, 2, 3) if seeds == "seeds 1 to 3" else (1,))


@pytest.mark.parametrize("name", WITHOUT_NUMBERS[1:])
def test_a_recipe_that_was_not_run_says_so(name):
    text = resources.files("training.recipes").joinpath(f"{name}.toml").read_text("utf-8")
    assert "# Not run here:" in text and "# Measured" not in text
    assert not [each for each in zoo.card(recipe.load(name).model).measured if each.recipe == name]


def documentation(name):
    """Return a script of the documentation as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Change to a folder with scans of two digits in photos/ and more-photos/, and with seven.png."""
    documentation("demo").write_digits(tmp_path / "digits")
    for folder, rows in (("photos", slice(40)), ("more-photos", slice(40, 60))):
        for digit in "37":
            (tmp_path / folder / digit).mkdir(parents=True)
            for file in sorted((tmp_path / "digits" / digit).iterdir())[rows]:
                shutil.copy(file, tmp_path / folder / digit)
    shutil.copy(next((tmp_path / "digits" / "7").iterdir()), tmp_path / "seven.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow("fine-tunes a model")
def test_the_python_of_the_documentation_runs(photos):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "python.md", "exec"), {})
    assert (photos / "photos.onnx").is_file() and (photos / "runs" / "photos" / "best.keras").is_file()


@pytest.mark.slow("fine-tunes a model")
def test_the_images_of_the_pages_are_drawn(tmp_path, monkeypatch):
    images = documentation("images")
    monkeypatch.setattr(images, "BUILT", tmp_path)
    monkeypatch.syspath_prepend(ROOT / "docs")
    monkeypatch.setattr(sys, "argv", ["images.py"])
    images.main()
    pages = "".join(page.read_text("utf-8") for page in PAGES)
    named = set(re.findall(r"images/built/([\w.-]+)", pages))
    assert named == {file.name for file in tmp_path.iterdir()}
