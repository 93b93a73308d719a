"""One module per --mode of `main.py`, and what several of them share: `setup` turns a
configuration into what the packages below take, `folds` deals, checks and trains. A
`Request` comes in, the command line; a run's folder is what a command leaves.
"""
