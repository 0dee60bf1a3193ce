"""Stickers for the outlets: their content, drawn as outlines, so no printer or viewer needs a font."""
