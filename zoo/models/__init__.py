"""The machines, a page each, in the order of history."""
