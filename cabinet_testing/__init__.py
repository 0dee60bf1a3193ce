"""Test harnesses of the project, used by tests, campaigns, benches and the virtual machine; in no package."""
