"""The real-time process that owns relays and sensors, protects and meters; and its parent, the keeper."""
