"""Separation analysis of layers; needs torch and numpy only."""
