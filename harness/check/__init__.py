"""Did it change: runs and draws against baselines. Import-light: every pytest run loads this."""
