"""Design: what a preset is, read from its config files and checked."""
