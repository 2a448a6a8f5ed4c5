"""Programs that show what the supervisor promises: the battery of faults, and weeks in minutes."""
