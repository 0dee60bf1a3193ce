"""The protection functions, one file each; their order is that of `model.Fault`."""
