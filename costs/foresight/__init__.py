"""What spending will come to, and which day stands out of its own past. Pure: numpy only, no Django, no database.

Amounts are nano-dollars a day. `seasonal` and `ets` foresee, `backtest` chooses between them and measures how far off they
were, `factors` takes a day apart into what moved, `detect` says which days to tell a person about.
"""
