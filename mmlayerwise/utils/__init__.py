"""Small helpers shared by the packages."""
