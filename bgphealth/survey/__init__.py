"""What a host is, and the file that comes nearest to it: for `bgphealth init`."""
