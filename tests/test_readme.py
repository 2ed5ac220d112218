"""The README says what the cards and the recipes say."""

import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import zoo
from training import recipe

ROOT = Path(__file__).resolve().parents[1]


def test_the_table_of_models_is_that_of_the_cards():
    done = subprocess.run([sys.executable, str(ROOT / "docs" / "models.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# One is of a user's own data, the others need ImageNet: their headers say that they were not run.
WITHOUT_NUMBERS = ("finetune", "alexnet-2012", "alexnet-asrun-2012")


@pytest.mark.parametrize("name", [name for name in recipe.names() if name not in WITHOUT_NUMBERS])
def test_a_recipes_header_states_what_its_card_measured(name):
    """Value, or mean and spread, and seeds stand in both; the recipe's comment is for its reader."""
    text = resources.files("training.recipes").joinpath(f"{name}.toml").read_text("utf-8")
    line = r"^# Measured: (\d+\.\d\d(?: ± \d+\.\d\d)?) % test error, (seeds 1 to 3|seed 1);"
    ((stated, seeds),) = re.findall(line, text, re.MULTILINE)
    (measured,) = (each for each in zoo.card(recipe.load(name).model).measured if each.recipe == name)
    assert stated == (f"{measured.mean:.2f} ± {measured.spread:.2f}" if len(measured.values) > 1 else f"{measured.mean:.2f}")
    assert measured.seeds == ((1, 2, 3) if seeds == "seeds 1 to 3" else (1,))


@pytest.mark.parametrize("name", WITHOUT_NUMBERS[1:])
def test_a_recipe_that_was_not_run_says_so(name):
    text = resources.files("training.recipes").joinpath(f"{name}.toml").read_text("utf-8")
    assert "# Not run here:" in text and "# Measured" not in text
    assert not [each for each in zoo.card(recipe.load(name).model).measured if each.recipe == name]
