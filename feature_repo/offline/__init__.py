"""The offline store: immutable files in a folder or a bucket, the history made of them, and the ledger of its epochs."""
