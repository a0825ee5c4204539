"""Who is shown: from the best to the worst, each with the faces that are asked for."""

from dataclasses import replace

import numpy as np
import pytest

from speech2face.evaluation.people import choose_people
from speech2face.measures.distances import distances
from speech2face.measures.retrieval import middle_rank
from tests.simulated import simulate, with_pictures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shown(measured):
    run = measured("noisy")
    return run, choose_people(replace(run.inputs, stretch=3.0), run.aligned, run.measured, 5)


def test_best_median_and_worst_by_the_mean_rank_of_their_clips(shown):
    run, people = shown
    ranks = run.aligned.clips.assign(rank=middle_rank(run.measured.ranks)).groupby("speaker_id")["rank"].mean()
    order = ranks.sort_values(kind="stable").index.tolist()
    assert {person.label: order.index(person.speaker) for person in people if person.label} == {
        "best": 0,
        "median": 23,
        "worst": 47,
    }
    assert [person.rank for person in people] == sorted(ranks[[person.speaker for person in people]])


def test_each_has_their_own_pictures(shown):
    run, people = shown
    inputs, aligned, voice = run.inputs, run.aligned, run.measured.systems["voice"].features
    for person in people:
        row = aligned.clips.index[aligned.clips["speaker_id"] == person.speaker][0]
        (own,) = inputs.pictures([f"{aligned.clips['video'][row]}/0000001"])
        middle = aligned.training_mean
        nearest = aligned.speakers[int(distances(voice[[row]] - middle, aligned.gallery - middle).argmin())]
        (neighbour,) = inputs.pictures([f"{nearest}/video0/0000001"])
        features = (aligned.true, voice, middle + 3.0 * (voice - middle))
        from_true, from_voice, stretched = (inputs.decode(f[[row]].astype(np.float32))[0][0] for f in features)
        assert not np.array_equal(from_voice, stretched)
        assert person.nearest == nearest
        expected = {
            "true face": own,
            "from its feature": from_true,
            "from the voice": from_voice,
            "the same, stretched": stretched,
            "nearest in gallery": neighbour,
        }
        assert person.pictures.keys() == expected.keys()
        for name, picture in expected.items():
            assert np.array_equal(person.pictures[name], picture), name


def test_nobody_without_a_decoder_or_crops(measured):
    run = measured("leaking")
    assert choose_people(run.inputs, run.aligned, run.measured, 5) == []


@pytest.mark.parametrize(("speakers", "count", "labels"), [(2, 1, ["best"]), (1, 5, [""]), (3, 1, ["median"])])
def test_few_are_called_what_they_are(speakers, count, labels, measure_of):
    run = measure_of(with_pictures(simulate(speakers + 20, test_fraction=speakers / (speakers + 20))))
    people = choose_people(run.inputs, run.aligned, run.measured, count)
    assert [person.label for person in people] == labels
