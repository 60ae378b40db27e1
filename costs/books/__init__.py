"""What keeps the books: bulk writing, partitions, fiscal periods, corrections, verification."""
