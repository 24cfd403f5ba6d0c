"""Sessions: what the workbench saw, written as it happens and read back."""
