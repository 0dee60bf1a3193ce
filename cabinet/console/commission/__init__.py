"""Putting a new cabinet into service: every part is tried, what is wrong is named, and a signed protocol is written.

`steps` is the pure core: what to ask, what to try, and what follows from what was seen. `probing` tries it over the
link, `record` keeps it, `protocol` writes it, and `dialogue` leads a technician through it.
"""
