"""Commands of the console, one module per topic, listed in `console.registry`."""
