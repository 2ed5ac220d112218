"""The commands `zoo export`, `verify`, `quantize`, `plan` and `targets`."""
