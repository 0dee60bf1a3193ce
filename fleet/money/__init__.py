"""Money that enters and leaves by phone: payments, refunds, and their agreement with the platforms."""
