"""Parts of `cabinet run`: child processes, the demonstration's folder, and the log of events."""
