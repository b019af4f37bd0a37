"""Files of other health checkers, turned into ours: texts in, a text out.

One module per peer, and one per file that stands around it. What a file of theirs says that ours
cannot say, or says better, is said in a comment of ours; what theirs does not know, and ours must,
is a place to fill in, which `bgphealth check` refuses until it is.
"""
