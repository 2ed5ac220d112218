"""What a target can do with a model, before anything is built: its layers, their time and memory, and what the DLA takes."""
