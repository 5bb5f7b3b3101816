"""Where patches lie and how their answers are put together again; numpy only."""
