"""The software as its next version would be, for tests of an upgrade in which both versions are at work."""
