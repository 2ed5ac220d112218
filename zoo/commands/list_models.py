"""The command `zoo list`."""

import json
import sys

from zoo import registry
from zoo.console import Json


def list_models(as_json: Json = False) -> None:
    """List the models and their pretrained weights, oldest first.

    Example: zoo list
    """
    rows = [
        {
            "name": name,
            "title": card["title"],
            "year": card["year"],
            "parameters": card["parameters"],
            "weights": [f"{name}.{tag}" for tag in card.get("weights", {})],
            "summary": card["summary"],
        }
        for name, card in registry.raw_cards().items()
    ]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        print(f"{row['year']}  {row['name']:16} {row['parameters']:>12,} parameters  {', '.join(row['weights'])}")
        print(f"      {row['summary']}")
    print("\nnext: zoo info lenet5", file=sys.stderr)
