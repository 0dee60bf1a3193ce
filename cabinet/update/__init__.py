"""Signed bundles, whether one may be installed now, and whether the new version stays: `cabinet update`."""
