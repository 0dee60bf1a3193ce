"""Terminals of the console: line editing, columns, control sequences, serial ports."""
