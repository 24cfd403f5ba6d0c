"""The panes of the workbench: one file a pane, drawn line by line from a session."""
