"""Commissioning of a new cabinet: tests every part, names each mistake, and writes a signed report.

`steps` is the pure core: the prompts, the tests, and the conclusions from the observations. `probing` runs the tests
over the link, `record` stores the findings, `report` writes the report, and `dialogue` guides the technician.
"""
