"""Planning of an engine before it is built: its layers, a lower bound for its time, its memory, and DLA placement."""
