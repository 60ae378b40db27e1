"""Chances of right answers, learned: scores apart from thresholds, measures of the field, cascades. numpy alone at run time."""
