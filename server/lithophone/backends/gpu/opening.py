"""Whether the parts of a loaded model go the way of GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
import torch

from lithophone.backends.decoding.encoder import LayersInForm
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.gpu.tuning import AMD, NVIDIA, Tuning

if TYPE_CHECKING:
    from lithophone.backends.gpu.conformer import ConformerKernels
    from lithophone.backends.gpu.kernels import Kernels
    from lithophone.backends.gpu.passes import PagedLanguageModel

log = structlog.get_logger(__name__)


def paged_language_model(model: Any, plan: DevicePlan, windows: int) -> PagedLanguageModel | None:
    """The language model of a loaded model over a pool for so many windows; None where the reference has to serve.

    On CPUs, and where layers are on several devices, it always has; on a GPU the log says why.
    """
    if plan.device == "cpu" or plan.device_map is not None:
        return None
    made = _made(model, plan, windows)
    if isinstance(made, str):
        log.warning("reference_decoder", reason=made, effect="slower decoding")
        return None
    log.info("paged_decoder", pages=made.pages.free_pages, pool_bytes=made.decoder.pool_bytes)
    return made


def _made(model: Any, plan: DevicePlan, windows: int) -> PagedLanguageModel | str:
    """The paged language model, or why it cannot serve."""
    from lithophone.backends.gpu.decoder import can_take_over  # noqa: PLC0415 - CPUs do without
    from lithophone.backends.gpu.passes import PagedLanguageModel, PoolSize  # noqa: PLC0415 - as above
    from lithophone.backends.gpu.trial import fault_of_decoder  # noqa: PLC0415 - as above

    language_model = model.model.language_model
    kernels = _kernels(torch.device(plan.torch_device))
    if kernels is None:
        return "there are no kernels"
    reason = can_take_over(language_model)
    if reason is not None:
        return reason
    size = PoolSize.of(windows, int(language_model.config.max_position_embeddings))
    paged = PagedLanguageModel(model, kernels, size, graphs=plan.graphs)
    return fault_of_decoder(model, paged) or paged


def kernel_encoder_layers(encoder: Any, plan: DevicePlan) -> LayersInForm | None:
    """The layers of a loaded encoder over kernels of their own; None where plain operations have to serve."""
    if plan.device == "cpu" or _kernels(torch.device(plan.torch_device)) is None:
        return None
    from lithophone.backends.gpu.conformer import kernel_layers  # noqa: PLC0415 - CPUs do without
    from lithophone.backends.gpu.trial import fault_of_encoder  # noqa: PLC0415 - as above

    layers = kernel_layers(encoder, _conformer_kernels())
    fault = fault_of_encoder(encoder, layers[0])
    if fault is not None:
        log.warning("reference_encoder", reason=fault, effect="slower hearing")
        return None
    return LayersInForm(layers, encoder.input_linear.weight.dtype, go_on=False)


def _conformer_kernels() -> ConformerKernels:
    from lithophone.backends.gpu.triton_conformer import TritonConformerKernels  # noqa: PLC0415 - CPUs do without

    return TritonConformerKernels(tuning())


def tuning() -> Tuning:
    """For the kind of GPU that this torch is for."""
    return AMD if torch.version.hip else NVIDIA


def _kernels(device: torch.device) -> Kernels | None:
    """Triton's, if it is there and can compile for the device, which takes a C compiler; by trying the smallest."""
    try:
        from lithophone.backends.gpu.triton_kernels import TritonKernels  # noqa: PLC0415 - may not be installed
        from lithophone.backends.gpu.triton_overlap import can_overlap  # noqa: PLC0415 - as above

        kernels = TritonKernels(tuning(), overlaps=can_overlap(device))
        kernels.rms_norm(torch.zeros(1, 32, device=device), torch.ones(32, device=device), 1e-5)
    except Exception as error:  # noqa: BLE001 - compilers fail in many ways, and the reference serves
        log.warning("no_triton", reason=f"{type(error).__name__}: {error}")
        return None
    return kernels
