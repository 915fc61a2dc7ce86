"""The wire contracts: `.proto` sources and the code generated from them (`make protos`)."""
