"""A session made ready for a bug report: one zip with the redacted session, a page, a status text."""
