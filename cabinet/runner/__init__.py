"""What `cabinet run` is made of: child processes, the demonstration's folder, and the log of what happens."""
