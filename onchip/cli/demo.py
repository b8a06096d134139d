"""`demo` and `train`: the verbs that need the torch extra.

In:       what the user asked for. Out: texts, JSON, the files of demo-out.
Promises: without torch or scikit-learn one line says what to install; a result that is not bit-exact ends with exit
          code 5, after everything is printed and written.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onchip.cli.lists import table, tool
from onchip.cli.output import dump, progress, show, show_json, write_file
from onchip.errors import BadFile, Mismatch, UsageError
from onchip.files import replacing
from onchip.units import DASH, format_value

if TYPE_CHECKING:
    from onchip.training.demo import Demo, NetworkResult

INSTALL = "pip install 'onchip[torch]'"
BAR_WIDTH = 16
EXTRA = {"torch", "sklearn", "onnxscript"}


def _training(module: str) -> Any:
    """Import a module of the training room. Raises UsageError where the extra is not installed."""
    try:
        return importlib.import_module(f"onchip.training.{module}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA:
            raise
        fact = f"{missing} is not installed; training needs the torch extra"
        raise UsageError("OC1014", "onchip", fact, next=f"Try {INSTALL}") from None


def demo(output: Path, *, as_json: bool, quiet: bool) -> None:
    """Run the demo, print what it found, and write the reports. Raises Mismatch."""
    work = _training("demo")
    _make_directory(output)
    found: Demo = work.run_demo(progress)
    for result in found.networks:
        write_file(output / f"{result.name}.json", dump(result.report.to_json()))
        write_file(output / f"{result.name}.txt", _network_text(result))
    write_file(output / "demo.json", dump(found.to_json()))
    if as_json:
        show_json(found.to_json())
    else:
        text = demo_text(found, output)
        show(text.partition("\n")[0] if quiet else text)
    wrong = [result.name for result in found.networks if not result.report.bit_exact]
    if wrong:
        raise Mismatch(
            "OC3001", ", ".join(wrong), "outputs differ from the integer reference", next="Report it as a bug"
        )


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fact = f"cannot be created: {error.strerror or error}"
        raise UsageError("OC1015", str(path), fact, next="Name another directory with -o") from None


def _network_text(result: NetworkResult) -> str:
    from onchip.reports.text import report_text

    lost = round((result.float_accuracy - result.chip_accuracy) * 100, 2)
    told = f"{result.name}: {_percent(result.chip_accuracy)} of {result.test_images} test images right on the chip, "
    told += f"{_percent(result.float_accuracy)} in float ({0 - lost:+.2f} points).".replace("-", "−")
    return f"{told}\n\n{report_text(result.report, layers=0)}"


def demo_text(found: Demo, output: Path) -> str:
    """Return the demo as text: the verdict, what to try next, networks, waterfalls, comparison."""
    from onchip.ir.comparison import comparison_notes, comparison_table
    from onchip.ir.report_text import waterfall_items, wrapped

    chip = found.networks[0].report.chip.name
    lines = [_verdict(found, chip)]
    lines.append(f"Next:  onchip estimate @resnet50 --chip {chip}   (or FILE.onnx, or package.module:factory)")
    lines += ["", f"on {chip}, one image at a time", *_network_rows(found), "", "where the time goes"]
    width = max(len(result.name) for result in found.networks)
    for result in found.networks:
        lines += wrapped(f"  {result.name:<{width}}  ", waterfall_items(result.report, width=BAR_WIDTH))
    chips = len({report.chip.name for report in found.comparison})
    lines += ["", f"{found.networks[0].name} on {chips} chips, least time per inference first"]
    lines += comparison_table(found.comparison)
    lines += [f"  not compared: {text}" for text in found.refused]
    lines += ["", *comparison_notes(found.comparison), f"reports: {output}/"]
    return "\n".join(lines) + "\n"


def _verdict(found: Demo, chip: str) -> str:
    images = {result.test_images for result in found.networks}
    each = f"{images.pop()} test images each" if len(images) == 1 else "their test images"
    lost = max(result.float_accuracy - result.chip_accuracy for result in found.networks)
    is_exact = all(result.report.bit_exact for result in found.networks)
    said = "every output is bit-exact" if is_exact else "OUTPUTS DIFFER FROM THE REFERENCE"
    accuracy = f"at most {lost * 100:.2f} points of accuracy lost" if lost > 0 else "no accuracy lost"
    return f"{len(found.networks)} networks ran {each} on {chip}: {said}, {accuracy} to float."


def _network_rows(found: Demo) -> list[str]:
    heads = ("network", "float", "on chip", "images", "bit-exact", "latency", "energy", "band", "util", "memory")
    rows: list[tuple[str, ...]] = [heads]
    for result in found.networks:
        report, energy = result.report, result.report.energy_j
        rows.append(
            (
                result.name, _percent(result.float_accuracy), _percent(result.chip_accuracy), str(result.test_images),
                "yes" if report.bit_exact else "NO", str(report.latency_s), str(energy) if energy else DASH,
                energy.band if energy else DASH, format_value(report.utilization.value, "%"),
                format_value(report.memory.local_peak_bytes, "B"),
            )
        )  # fmt: skip
    return table(rows, right=set(range(1, len(heads))))


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"


def train(name: str, *, seed: int, is_aware: bool, as_json: bool, output: Path | None) -> None:
    """Train one network, print its accuracy, and write it where asked: as ONNX, or with `is_aware` in int8 as .npz."""
    suffix = ".npz" if is_aware else ".onnx"
    if output is not None and output.suffix != suffix:
        hint = f"Name a file that ends in {suffix}"
        raise BadFile("OC1015", str(output), f"a network is written as {suffix} here", next=hint)
    with progress(f"{name}: train") as step:

        def heard(epoch: int, epochs: int, _loss: float) -> None:
            step(epoch, epochs)

        found = _training("aware").train_aware(name, seed=seed, progress=heard) if is_aware else None
        network = found.trained if found is not None else _training("train").train(name, seed=seed, progress=heard)
    if output is not None and found is not None:
        found.graph.save(output)
    elif output is not None:
        export = _training("export").export_onnx
        with replacing(output) as beside:
            export(network, beside)
    images, int8 = len(network.test_images), found.int8_accuracy if found is not None else None
    if as_json:
        accuracies = {"float_accuracy": network.float_accuracy, "int8_accuracy": int8}
        show_json({**tool(), "name": name, **accuracies, "test_images": images, "seed": seed})
        return
    told = f"{_percent(network.float_accuracy)} of {images} held-out images right, in float (seed {seed})"
    if found is not None:
        told += f"; {_percent(found.int8_accuracy)} in int8 after training with it, "
        told += f"{_percent(found.calibrated_accuracy)} calibrated only"
    verb = f"onchip train {name}{' --qat' if is_aware else ''}"
    if output is not None:
        action = f"onchip run {output} --chip edge-npu-16   (written; runs it, checked bit for bit)"
    else:
        action = f"{verb} -o {name}{suffix}   (writes the {'int8 ' if is_aware else ''}network)"
    show(f"{name}: {told}.\nNext:  {action}")
