"""Put a plan into force in torch.

Owns what is set for the whole process and for the thread that runs the model; its mode is the `runtime`'s.
"""

from __future__ import annotations

import torch

from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.threads import let_newcomers_compute_alone


def apply_plan(plan: DevicePlan) -> None:
    """CPU threads for the calling thread, MIOpen off where it fails, and cuDNN's attention off.

    The model's thread has all of the plan's, those that come to it later, for voice activity, one each.
    """
    torch.set_num_threads(plan.cpu_threads)
    torch.get_num_threads()  # a thread takes over the last number set by anyone when it first asks; so ask now
    let_newcomers_compute_alone()
    # it makes a plan for every length of a prompt, and hardly two are the same
    torch.backends.cuda.enable_cudnn_sdp(enabled=False)
    if not plan.convolution_library:
        torch.backends.cudnn.enabled = False  # torch's name for MIOpen, too
