"""The recipe of the embedded checkpoints: text, speech, training, evaluation and export."""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # one thread a process, set before torch and numpy start
