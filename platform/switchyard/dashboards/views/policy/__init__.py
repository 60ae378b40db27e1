"""Pages of policies: versions, editor, trial, differences, what-ifs, approvals, history, proof."""
