"""What a session means, derived from its rows as they come: decoding, coverage, device, summary, evidence."""
