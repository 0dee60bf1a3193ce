"""Recordings of trips: their file format, the folder they are in, a table and a plot of one.

This package is independent of the guard: the guard's flight recorder uses `format` to write, commands and pages use all
of it to read.
"""
