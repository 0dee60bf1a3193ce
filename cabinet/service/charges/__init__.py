"""Charges of residents, from the start request to the receipt: sessions in memory, power queue, checkpoints."""
