"""What leaves the books: statements for lines of business, FOCUS rows for other tools."""
