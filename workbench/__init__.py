"""The workbench: the application around a shim under development."""
