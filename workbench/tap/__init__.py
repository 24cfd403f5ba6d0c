"""The tap: what is loaded into a target, and what collects its records."""
