"""The loop: watch the sources, build them, keep what was built, and launch the target on it."""
