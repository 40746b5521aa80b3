"""The only room that knows gRPC: TLS, authentication, streams, chunks."""
