"""Stickers for the outlets: what is on them, drawn as outlines, so that no printer or viewer needs a font."""
