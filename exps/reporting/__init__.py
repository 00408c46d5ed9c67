"""The parts of exps/report.py: reading runs, drawing them, and the page that shows them."""
