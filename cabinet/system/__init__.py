"""Parts for any process on the computer: atomic files, frame codec, secrets, notices to systemd."""
