"""Sub-commands of `cabinet`, one module each with the same name; the only package that assembles the parts.

Each module has `configure(parser)`, which declares its arguments, and `main(args) -> int`, which returns the exit
status. A part is imported only if its command needs it: `cabinet guard` must not load a web server.
"""
