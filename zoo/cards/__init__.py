"""The cards: one TOML file a model, checked against `zoo.schema.Card`."""
