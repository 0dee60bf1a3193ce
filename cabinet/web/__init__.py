"""Pages and API for residents and property, and the HTTP server's connections."""
