"""Times and memory of the supervisors over many children."""
