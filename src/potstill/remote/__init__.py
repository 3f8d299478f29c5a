"""Files behind URLs such as ``s3://bucket/key``, through fsspec: copied to this machine, and from it."""
