"""The bake-off: our supervisor and its peers over the same children, judged and timed alike."""
