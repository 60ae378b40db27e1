"""What spending will come to, and which day stands out of its own past. Pure: no database, no settings; words that a
person reads are marked for translation and go through what the caller gives.

Amounts are nano-dollars a day. `seasonal` and `ets` foresee, `backtest` chooses between them and measures how far off they
were, `factors` takes a day apart into what moved, `detect` says which days to tell a person about.
"""
