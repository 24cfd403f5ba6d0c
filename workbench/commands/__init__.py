"""The sub-commands, one file each, each with `add_arguments(parser)` and `run(options)`."""
