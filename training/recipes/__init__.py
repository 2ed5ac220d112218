"""The recipes: one TOML file a training run, checked against `training.recipe.Recipe`."""
