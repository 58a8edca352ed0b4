"""What stays on a card, from sizes alone."""

import pytest

from llm_dit.errors import InvalidParameter
from llm_dit.placement.budget import GIB, CardPlan, NetworkSize, plan_card, require_fit

VAE = NetworkSize("vae", fixed=10)
TRANSFORMER = NetworkSize("transformer", fixed=20, blocks=(10,) * 12, guests=2)
ENCODER = NetworkSize("text_encoder", fixed=1, blocks=(5,) * 8, spare=30)
ALL = [VAE, TRANSFORMER, ENCODER]
WEIGHTS = 10 + 140 + 71


def test_where_all_fits_all_stays():
    plan = plan_card(ALL, WEIGHTS + 50, 50)
    assert plan.streamed == {"vae": (), "transformer": (), "text_encoder": ()}
    assert (plan.resident, plan.fits) == (WEIGHTS, True)


def test_the_text_encoder_goes_first_and_its_embeddings_with_it():
    plan = plan_card(ALL, WEIGHTS + 50 - 1, 50)
    assert plan.streamed["transformer"] == ()
    assert plan.streamed["text_encoder"] == (0,)
    assert plan.resident == 150 + 1 + 2 * 5 + 7 * 5


def test_as_many_blocks_stay_as_fit():
    fully_streamed_encoder = 1 + 2 * 5
    for limit in range(100, 240, 3):
        plan = plan_card(ALL, limit, 50)
        assert plan.resident + 50 <= limit or not plan.fits
        if plan.fits and plan.streamed["transformer"]:
            assert len(plan.streamed["text_encoder"]) == 8
            count = len(plan.streamed["transformer"])
            fewer = 10 + TRANSFORMER.resident_bytes(TRANSFORMER.streamed(count - 1)) + fully_streamed_encoder
            assert count == 3 or fewer + 50 > limit  # one or two streamed blocks save nothing


def test_streaming_less_than_the_places_hold_is_not_done():
    assert TRANSFORMER.resident_bytes((0, 1)) == TRANSFORMER.total
    plan = plan_card([TRANSFORMER], TRANSFORMER.total - 1, 0)
    assert plan.streamed["transformer"] == TRANSFORMER.streamed(3)
    assert plan.resident == 20 + 20 + 9 * 10


def test_guests_go_first_and_others_are_spread_evenly():
    assert TRANSFORMER.streamed(1) == (0,)
    assert TRANSFORMER.streamed(4) == (0, 1, 2, 7)
    assert TRANSFORMER.streamed(7) == (0, 1, 2, 4, 6, 8, 10)
    assert TRANSFORMER.streamed(12) == tuple(range(12))
    assert ENCODER.streamed(3) == (0, 2, 5)


def test_a_card_that_is_too_small_is_refused_with_what_it_takes():
    plan = plan_card(ALL, 60, 50)
    assert plan.resident == 10 + 20 + 20 + 1 + 10
    assert not plan.fits
    gib = CardPlan(resident=2 * GIB, working=GIB, limit=int(2.5 * GIB))
    with pytest.raises(InvalidParameter, match=r"vram_limit leaves 2\.5 GiB, and this model needs 3\.0 with all"):
        require_fit(gib)
    require_fit(CardPlan(resident=2 * GIB, working=GIB, limit=3 * GIB))
