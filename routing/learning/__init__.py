"""What production taught the router: rows of versions."""
