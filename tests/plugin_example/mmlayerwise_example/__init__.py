"""An example of a mmlayerwise plugin."""
