"""Many hosts at once: whom to ask, where the work runs, and what came of it."""
