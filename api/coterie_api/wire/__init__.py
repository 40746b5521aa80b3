"""Wire format between client and aggregator (protobuf)."""
