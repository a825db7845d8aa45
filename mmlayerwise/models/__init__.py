"""Registered networks and their parts."""
