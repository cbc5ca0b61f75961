"""Names of the files and columns that judgements are kept in, for who reads them and who writes them."""

TRIPLET_FILE, PAIR_FILE = "data.csv", "jnd.csv"  # the table of a data set, in its folder
EXPORT_FILE = "export.json"  # beside a table that `dreamsim-data` wrote: what it was made from

TRIPLET_PATHS = ("ref_path", "left_path", "right_path")
TRIPLET_SHARES = ("left_vote", "right_vote")  # of the votes for each side
TRIPLET_COUNTS = ("left_votes", "right_votes")
PAIR_PATHS = ("a_path", "b_path")
SAME = "same"  # the share of people who said so of a pair
