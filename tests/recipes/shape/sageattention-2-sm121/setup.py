"""Shape only: written for the test. A set of the architectures that are compiled, as text."""

SUPPORTED_ARCHS = {"8.0", "8.6", "8.9", "9.0", "12.0"}
