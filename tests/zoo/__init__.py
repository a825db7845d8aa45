"""The zoo harness: what tests/test_zoo.py needs to build, feed, train and judge any system."""
