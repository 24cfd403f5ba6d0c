"""What the budgets of the design are measured with: ratios within one run, never asserted."""
