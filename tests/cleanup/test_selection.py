"""F78: which of the steps that were tried are kept."""

from segduet.cleanup.candidates import candidate_steps
from segduet.cleanup.evidence import Trial
from segduet.cleanup.selection import select_steps
from segduet.cleanup.steps import FillHoles, KeepInside, KeepLargest, Opening, RemoveSmall
from segduet.core.labels import LabelScheme
from segduet.core.scores import Estimate

A, B, C = FillHoles(region="a"), FillHoles(region="b"), FillHoles(region="c")


def trial(step, value, ci95, by_region=None, kept_before=0):
    return Trial(
        step=step,
        kept_before=kept_before,
        num_changed=3,
        difference=Estimate(value=value, ci95=ci95, n=5, reason="" if ci95 else "none"),
        by_region=by_region or {step.region: value},
    )


def choose(table):
    """Runs the selection on figures by (kept steps, step); returns kept steps and all trials."""

    def try_steps(kept, left):
        return [trial(s, *table[len(kept)][s.region], kept_before=len(kept)) for s in left]

    trials = select_steps([A, B, C], try_steps)
    return [t.step for t in trials if t.kept], trials


def test_the_step_that_helps_most_is_kept_first_until_none_helps():
    kept, trials = choose(
        [
            {"a": (0.1, (0.01, 0.2)), "b": (0.3, (0.1, 0.4)), "c": (0.2, (-0.1, 0.5))},
            {"a": (0.05, (0.01, 0.1)), "c": (0.2, (-0.1, 0.5))},
            {"c": (0.2, (-0.1, 0.5))},
        ]
    )
    assert kept == [B, A]
    assert [(t.step.region, t.kept_before) for t in trials] == [
        *(("a", 0), ("b", 0), ("c", 0)),
        *(("a", 1), ("c", 1)),
        ("c", 2),
    ]


def test_a_gain_within_its_noise_is_not_kept():
    kept, _ = choose([{"a": (0.1, (-0.001, 0.2)), "b": (0.3, None), "c": (0.0, (0.0, 0.0))}])
    assert kept == []


def test_a_step_that_costs_another_region_is_not_kept():
    costly = (0.1, (0.05, 0.2), {"a": 0.1, "b": -1e-4})
    harmless = (0.05, (0.01, 0.2), {"a": 0.0, "b": 0.05})
    nothing = (0.0, (-0.1, 0.1))
    kept, _ = choose([{"a": costly, "b": harmless, "c": nothing}, {"a": costly, "c": nothing}])
    assert kept == [B]


PLAIN = LabelScheme.from_dataset_json(
    {"background": 0, "organ": 1, "lesion": 2}, None, where="test"
)
NESTED = LabelScheme.from_dataset_json(
    {"background": 0, "organ": [1, 2], "lesion": [2]}, [1, 2], where="test"
)


def test_nnunets_candidates_are_among_ours():
    """All foreground together, and every label; once each, in the same order every time."""
    steps = candidate_steps(PLAIN, num_spatial_dims=3)
    largest = [s.regions for s in steps if isinstance(s, KeepLargest)]
    assert largest == [("organ", "lesion"), ("organ",), ("lesion",)]
    assert len({s.model_dump_json() for s in steps}) == len(steps)
    assert steps == candidate_steps(PLAIN, num_spatial_dims=3)
    alone = LabelScheme.from_dataset_json({"background": 0, "a": 1}, None, where="test")
    largest = [s for s in candidate_steps(alone, num_spatial_dims=3) if isinstance(s, KeepLargest)]
    assert [s.regions for s in largest] == [("a",)]


def test_only_nested_regions_say_what_lies_in_what():
    def pairs(scheme):
        steps = candidate_steps(scheme, num_spatial_dims=3)
        return {(s.region, s.organ) for s in steps if isinstance(s, KeepInside)}

    assert pairs(PLAIN) == set()
    assert pairs(NESTED) == {("lesion", "organ")}


def test_sizes_are_those_of_the_images():
    def sizes(dims):
        steps = candidate_steps(PLAIN, num_spatial_dims=dims)
        small = [s for s in steps if isinstance(s, RemoveSmall)]
        assert any(isinstance(s, Opening) for s in steps)
        return {(s.min_ml is None, s.min_mm2 is None) for s in small}

    assert sizes(3) == {(False, True)}
    assert sizes(2) == {(True, False)}
