"""Calibration: numbers that were planted in the rows are found again, and what rows do not carry is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from onchip.chip import Chip
from onchip.errors import OnchipError
from onchip.silicon.calibrate import Calibration, calibrate, file_text, shape_of, write_calibrated
from onchip.silicon.measurements import Measurement
from onchip.silicon.predict import case_of, timed

Rows = Callable[..., tuple[Measurement, ...]]
CHIP = "a30"
WIDE = [f"M={m};N={n};K=4096" for m in (4096, 8192) for n in (4096, 6144, 8192)]  # bound by the matrix unit
THIN = [f"M=8;N={n};K={k}" for n in (4096, 8192) for k in (4096, 8192, 16384)]  # bound by far memory
PLANTED = {"achieved.dram": 0.7, "achieved.matrix": 0.8}


def planted(rows: Rows, chip: str = CHIP, numbers: dict[str, float] = PLANTED) -> list[Measurement]:
    """Return rows that a chip with other numbers would have given."""
    changed = Chip.load(chip).replace(dict(numbers))
    made: list[Measurement] = []
    for row in rows(*(f"{chip},gemm,{params},bf16,latency_ms,1,device," for params in (*WIDE, *THIN))):
        value = timed(case_of(row, changed), changed).value
        made.append(Measurement(row.row, row.chip, row.workload, row.params, row.dtype, row.metric, value, row.timing))
    return made


def fitted(rows: list[Measurement], *keys: str, chip: str = CHIP, workloads: tuple[str, ...] = ()) -> Calibration:
    return calibrate(chip, rows, source="m.csv", progress=lambda _d, _t: None, keys=keys, workloads=workloads)


def values(made: Calibration) -> dict[str, float]:
    return {s.key: float(s.text(n)) for s, n in zip(made.scalars, made.fit.point, strict=True)}


def test_planted_numbers_are_found(rows: Rows) -> None:
    made = fitted(planted(rows), *PLANTED)
    assert values(made) == pytest.approx(PLANTED, rel=0.006)
    assert made.fit.before.median > 10
    assert made.fit.left_out is not None and made.fit.left_out.p90 < 1


def test_a_number_that_changes_nothing_is_not_called_fitted(rows: Rows) -> None:
    made = fitted(planted(rows), "achieved.dram", "achieved.vector")
    assert made.idle == ("achieved.vector",) and [s.key for s in made.scalars] == ["achieved.dram"]
    with pytest.raises(OnchipError, match=r"a30: OC1508 achieved\.vector: changes no prediction of the 12"):
        fitted(planted(rows), "achieved.vector")


def test_a_time_that_is_zero_starts_at_a_microsecond(rows: Rows) -> None:
    (scalar,) = fitted(planted(rows), "launch.per_run").scalars
    assert (scalar.value, scalar.text(0)) == (0.0, "1 us")


def test_the_file_holds_the_fit_and_loads_again(rows: Rows, tmp_path: Path) -> None:
    made = fitted(planted(rows), *PLANTED)
    path = tmp_path / "mine.toml"
    assert write_calibrated(made, path) == "mine"
    chip = Chip.load(path)
    assert chip.achieved.dram == values(made)["achieved.dram"] and chip.matrix == made.chip.matrix
    assert chip.calibration is not None and made.fit.left_out is not None
    told = chip.calibration
    assert (told.keys, told.n, told.rows) == (("achieved.dram", "achieved.matrix"), 12, "12 rows of m.csv: gemm")
    assert told.median == round(made.fit.left_out.median, 2)
    assert chip.provenance("achieved.dram") == "calibrated"
    assert chip.source_of("achieved.dram") == "fitted on 12 rows of m.csv: gemm"
    assert chip.provenance("achieved.shared") != "calibrated"
    assert Chip.parse(str(chip)) == chip
    for row in planted(rows):
        assert timed(case_of(row, chip), chip).value == pytest.approx(row.value, rel=0.01)


def test_a_file_extends_a_file(rows: Rows, tmp_path: Path) -> None:
    """The parent is named from the folder of the child; the child may not take its place."""
    (tmp_path / "deep").mkdir()
    parent = tmp_path / "parent.toml"
    parent.write_text(f'extends = "{CHIP}"\nname = "parent"\nassumed = ["achieved.dram"]\n[achieved]\ndram = 0.9\n')
    mine = [Measurement(r.row, "parent", *_rest(r)) for r in planted(rows)]
    made = fitted(mine, "achieved.dram", chip=str(parent))
    write_calibrated(made, tmp_path / "deep" / "child.toml")
    child = Chip.load(tmp_path / "deep" / "child.toml")
    assert child.achieved.dram == pytest.approx(0.7, rel=0.1)
    assert "achieved.dram" not in child.assumed
    with pytest.raises(OnchipError, match="OC1018 is the chip that is calibrated"):
        write_calibrated(made, parent)
    assert Chip.load(parent).achieved.dram == 0.9


def _rest(r: Measurement) -> tuple[str, tuple[tuple[str, str], ...], str, str, float, str]:
    return r.workload, r.params, r.dtype, r.metric, r.value, r.timing


def test_numbers_that_were_fitted_before_count(rows: Rows, tmp_path: Path) -> None:
    parent = tmp_path / "parent.toml"
    parent.write_text(
        f'extends = "{CHIP}"\nname = "parent"\n[achieved]\ndram = 0.9\n[calibration]\n'
        'keys = ["achieved.dram", "achieved.shared"]\nrows = "others"\nn = 40\nmedian = 5.0\np90 = 9.0\n'
    )
    mine = [Measurement(r.row, "parent", *_rest(r)) for r in planted(rows)]
    text = file_text(fitted(mine, "achieved.matrix", chip=str(parent)), tmp_path / "child.toml")
    assert 'keys = ["achieved.matrix", "achieved.dram", "achieved.shared"]' in text
    assert "12 rows of m.csv: gemm; achieved.dram, achieved.shared: others" in text
    with pytest.raises(OnchipError, match=r"OC1507 has fitted numbers already .*: achieved\.shared"):
        fitted(mine, "achieved.matrix", "launch.in_graph", "achieved.dram", chip=str(parent))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (("achieved.drum",), "OC1102 unknown key 'achieved.drum'. Did you mean 'achieved.dram'"),
        (("matrix.dataflow",), "OC1105 matrix.dataflow"),
        (("matrix.bf16.native",), "OC1105 matrix.bf16.native"),
        (("cores.count",), "OC1509 'cores.count' is no number that can be a little more or less"),
        (("peak.bf16",), "OC1509 'peak.bf16' is no number"),
        (("name",), "OC1509 'name' is no number of this chip file"),
        (("dram",), "OC1105 dram"),
        (("achieved.dram", "achieved.matrix", "achieved.shared", "launch.host"), "OC1507 4 scalars: achieved.dram,"),
    ],
)
def test_a_key_that_cannot_be_fitted_is_refused(rows: Rows, keys: tuple[str, ...], said: str) -> None:
    with pytest.raises(OnchipError) as refused:
        fitted(planted(rows), *keys)
    assert said in str(refused.value)


def test_a_quarter_of_the_rows_is_the_most(rows: Rows) -> None:
    mine = planted(rows)
    assert len(fitted(mine[-3:]).scalars) == len(fitted(mine[-7:]).scalars) == 1
    assert len(fitted([*mine[:2], *mine[-6:]]).scalars) == 2
    with pytest.raises(OnchipError, match=r"OC1507 2 scalars: .* 1 on 7 rows"):
        fitted(mine[:7], "achieved.dram", "achieved.matrix")


def test_rows_that_are_no_times_or_have_no_price_are_told(rows: Rows) -> None:
    mine = planted(rows)
    more = rows(
        f"{CHIP},gemm,M=1;N=1;K=1,fp4,latency_ms,1,device,", f"{CHIP},gemm,M=1;N=1;K=1,bf16,power_w,1,device,",
        "h100-sxm,gemm,M=1;N=1;K=1,bf16,latency_ms,1,device,",
    )  # fmt: skip
    made = fitted([*mine, *more], "achieved.dram")
    assert made.fit.n_rows == 12 and made.n_other == 1
    assert [refusal.measurement.dtype for refusal in made.refusals] == ["fp4"]
    with pytest.raises(OnchipError, match=r"OC1508 no row of a30 is a time that can be predicted"):
        fitted(list(more))
    with pytest.raises(OnchipError, match=r"m.csv: OC1508 has no row of mi300x\. It has a30, h100-sxm"):
        fitted([*mine, *more], chip="mi300x")
    with pytest.raises(OnchipError, match=r"OC1508 has no row of a30 conv2d\. There are gemm"):
        fitted(mine, workloads=("conv2d",))
    with pytest.raises(OnchipError, match="OC1509 has overrides"):
        fitted(mine, chip=f"{CHIP}?launch.host=1us")


def test_shapes_are_sizes_alone(rows: Rows) -> None:
    """Layout, runtime and dtype say how it was run; rows of the same sizes are left out together."""
    a, b, c, d = rows(
        f"{CHIP},gemm,M=1;N=2;K=3;layout=NN,fp16,latency_ms,1,host,", f"{CHIP},gemm,K=3;M=1;N=2,fp32,tops,1,device,",
        f"{CHIP},gemm,M=2;N=1;K=3,fp16,latency_ms,1,host,", f"{CHIP},bmm,B=1;M=1;N=2;K=3,fp16,latency_ms,1,host,",
    )  # fmt: skip
    assert shape_of(a) == shape_of(b) and len({shape_of(row) for row in (a, b, c, d)}) == 3
    one, two = rows(
        f"{CHIP},network,name=resnet50;batch=1;runtime=x,fp16,latency_ms,1,host,",
        f"{CHIP},network,name=vgg16;batch=1;runtime=x,fp16,latency_ms,1,host,",
    )
    assert shape_of(one) != shape_of(two)
