"""What holds for every test."""

from hypothesis import settings

settings.register_profile("cabinet", deadline=None)  # a busy build machine is no failure
settings.load_profile("cabinet")
