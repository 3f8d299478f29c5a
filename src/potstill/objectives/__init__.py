"""Terms and their sum: what the student is pulled towards."""
