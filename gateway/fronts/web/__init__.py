"""Connect and gRPC-Web: the methods of the gRPC front, served on the port of the HTTP front."""
