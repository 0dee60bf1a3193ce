"""The protection functions, small objects by what they look at; `cabinet.safety` puts them in order."""
