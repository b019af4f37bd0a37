"""What of the host, its kernel, FRR and ExaBGP is not as the file needs it; nothing is changed."""
