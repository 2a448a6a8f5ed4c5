"""Checks whether a client keeps Agent Protocol 1: a reference server with scripted scenarios."""
