"""The private side's true cost: what machines cost by date, who used each hour, who carries what nobody used."""
