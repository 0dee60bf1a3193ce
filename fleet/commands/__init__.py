"""Sub-commands of `fleet`, one module each with the same name; the only package that assembles the parts."""
