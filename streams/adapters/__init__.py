"""What the stream does to the outside: `kafka` publishes and reads. Histories and the online store are feature_repo's."""
