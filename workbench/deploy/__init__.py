"""Putting the shim where a target finds it by itself: a folder, or a systemd unit's environment."""
