"""The commands `zoo train`, `experiment`, `finetune`, `evaluate`, `predict` and `report`."""
