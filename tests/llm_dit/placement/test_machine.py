"""What the processor says of itself, and what follows from it."""

from __future__ import annotations

import pytest

from llm_dit.placement.machine import onednn_multiplies

WIDE = "fpu sse2 fma avx2 avx512f avx512dq avx512cd avx512bw avx512vl avx512_vnni"


@pytest.mark.parametrize(
    ("vendor", "flags", "multiplies"),
    [
        ("AuthenticAMD", WIDE, True),
        ("AuthenticAMD", "fpu sse2 fma avx2", False),
        ("AuthenticAMD", WIDE.replace("avx512vl ", ""), False),
        ("GenuineIntel", WIDE, False),
    ],
)
def test_onednn_multiplies_where_mkl_leaves_wide_units_unused(tmp_path, vendor, flags, multiplies):
    facts = tmp_path / "cpuinfo"
    first = f"processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: One: 2.6 GHz\nflags\t\t: {flags}\nbugs\t\t:\n"
    facts.write_text(f"{first}\nprocessor\t: 1\nvendor_id\t: another\nflags\t\t: none\n", encoding="utf-8")

    assert onednn_multiplies(facts) is multiplies


def test_onednn_does_not_multiply_where_the_processor_is_not_told(tmp_path):
    assert not onednn_multiplies(tmp_path / "missing")
