"""Every option of every script, once, in groups by who reads them. No torch.

cfg.py makes the Options of a script of them.
Defaults are the paper's, or those of the authors' scripts where the paper is silent (docs/DIFFERENCES.md).
"""
