"""Chip models at register level, written from the data sheets alone: they share no code with the drivers.

Each has two interfaces. The bus door takes and returns bytes (`Device`); the world door is set in physical units. If a
driver writes a bit that is not modelled, the model raises `SimError`.
"""
