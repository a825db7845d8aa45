"""The lectures' tables of forward learning, run anew: what is behind ``tools/dev/reproduce.py``."""
