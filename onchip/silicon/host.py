"""What a framework's call adds on the host: the floor under small kernels that were timed from there.

In:       a measurement with timing = host, the seconds of its kernels on the device.
Out:      seconds as the host's clock has them.
Promises: monotone: never below the device, never below the call. A call that does nothing takes `call`; the kernel
          starts after a share of it (argument checks, allocation, launch), the rest runs beside the kernel:
          max(call, BEFORE x call + device). Repeats that are queued back to back hide the call.
Does not: depend on the chip: a floor is a condition of the measurement. An `empty_kernel_us` of the row, or a
          `launch.host` of the chip file, stands in its place (silicon/predict.py).

Sources: floors that are published with the rows (docs/measurements.md, conditions of the public rows); `fitted` ones
are read off the smallest rows of V100 and A100 together, one number for all chips.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onchip.silicon.measurements import Measurement

BEFORE = 0.75  # fitted on GELU and layer norm of LLMCompass, shared by all chips: 38 of 48 and 40 of 52 us
WHOLE = ("network", "layer")  # many kernels


@dataclass(frozen=True, slots=True)
class Calls:
    """Microseconds of an empty call, by workload, in the measurements of one publisher."""

    other_us: float
    by_workload: dict[str, float] = field(default_factory=dict[str, float])


PUBLISHERS: dict[str, Calls] = {
    "HenryChang213/LLMCompass": Calls(21, {"softmax": 13, "gelu": 47, "layernorm": 52, "gemm": 21}),  # published
    # bmm: published; other products: the same call; norms and all others: fitted
    "sitar-lab/NeuSight": Calls(18, {"bmm": 50, "gemm": 50, "softmax": 24, "layernorm": 40}),
    # back-to-back repeats; a call of a recurrent layer: fitted on the two rows of a single step
    "baidu-research/DeepBench": Calls(0, dict.fromkeys(("lstm", "gru", "rnn"), 60)),
    # a batch goes through Paddle's predictor, and is waited for: fitted on ResNet-50 of A100
    "NVIDIA/DeepLearningExamples": Calls(18, {"network": 600}),
}
UNKNOWN = Calls(18)  # assumed: an eager call as in NeuSight


def call_s(row: Measurement) -> float:
    """Return the seconds of an empty call of the row's workload where its source measured.

    That of a network is 0 where its source has none: all kernels of a run are queued ahead.
    """
    calls = next((calls for name, calls in PUBLISHERS.items() if row.source.startswith(name)), UNKNOWN)
    return calls.by_workload.get(row.workload, 0.0 if row.workload in WHOLE else calls.other_us) * 1e-6


def timed_on_host_s(row: Measurement, device_s: float) -> float:
    """Return the seconds that the host's clock shows for kernels of `device_s`."""
    call = call_s(row)
    return max(call, BEFORE * call + device_s)
