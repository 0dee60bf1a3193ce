"""Payment platforms to test against: their HTTP interfaces as documented, with real signatures.

No code is shared with `fleet.money`: a rule that the adapters misread is not misread the same way here. A test checks
the imports.
"""
