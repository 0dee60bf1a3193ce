"""The protection functions, small objects grouped by subject; `cabinet.safety` defines their order."""
