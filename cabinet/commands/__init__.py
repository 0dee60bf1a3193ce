"""One module a sub-command of `cabinet`, named as it; the only place where parts are put together.

Each has `configure(parser)`, which declares its arguments, and `main(args) -> int`, which returns the exit status.
Nothing of a part is imported before that part is asked for: `cabinet guard` must not load a web server.
"""
