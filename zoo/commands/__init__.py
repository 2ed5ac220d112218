"""The commands `zoo list`, `info`, `show`, `features`, `similar`, `import` and `doctor`, one module each."""
