"""What bench/compare, startup and rss share; standard library only."""
