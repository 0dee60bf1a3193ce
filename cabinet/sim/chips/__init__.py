"""Chips at register level, written from their data sheets alone: they share nothing with the drivers they answer.

Each has two doors. On the bus it takes and gives bytes (`Device`); in the world it is set in physical units. What a
model does not do it refuses loudly: writing a bit that is not modelled raises `SimError`.
"""
