"""Recorded calls performed again: the player, and what asks it."""
