"""What a policy would have done: recorded decisions decided again, and what it would have cost and how often been right.

relevant → which facts the compared versions test     columns → records, grouped by them
plans    → where each group would have gone           rates   → what answers cost and how often they are right
estimate → the two put together, with intervals       report  → in words and dollars
"""
