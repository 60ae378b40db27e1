"""/v1/batches: the requests of a file, answered one by one by a worker, through the same pipeline as anybody's."""
