import numpy as np
import pytest

from models_ml.encoders.text import SentenceEncoder
from models_ml.llm.offline import OfflineAnnotator
from models_ml.types import Example, Failure, LabelSpec
from tests.models_ml.test_types import AnnotatorContract

TEXTS = [
    ("The striker scored twice in the final.",),
    ("Shares fell after weak quarterly earnings.",),
    ("The team won the championship.",),
    ("",),
    ("The bank raised its interest rates.",),
]
SPORTS, BUSINESS = (
    LabelSpec("Sports", "Games, teams and matches."),
    LabelSpec("Business", "Companies and markets."),
)


@pytest.fixture(scope="module")
def encoder():
    return SentenceEncoder()


@pytest.fixture
def annotator(encoder):
    return OfflineAnnotator(encoder)


def distributions(answers):
    return np.stack([answer.probabilities for answer in answers if not isinstance(answer, Failure)])


class TestOfflineAnnotatorKeepsTheContract(AnnotatorContract):
    pass


class TestOfflineAnnotator:
    @pytest.fixture
    def answers(self, annotator):
        return annotator.annotate(TEXTS, labels=[SPORTS, BUSINESS])

    def test_it_labels_by_meaning(self, answers):
        assert [answers[i].label for i in (0, 1, 2, 4)] == [0, 1, 0, 1]

    def test_it_labels_with_the_largest_score(self, answers):
        assert [a.label for a in answers if not isinstance(a, Failure)] == distributions(answers).argmax(1).tolist()

    def test_it_costs_nothing_and_counts_tokens(self, encoder, answers):
        assert [answer.cost_micros for answer in answers] == [0] * 5
        assert answers[0].n_input_tokens == encoder.count_tokens(TEXTS[0])[0]
        assert answers[0].label_mass == 1.0

    def test_it_agrees_with_the_definition(self, encoder, annotator):
        """Prototypes and softmax by hand."""
        label = LabelSpec("my_sports", "Games.", ("A match.", "A race."))
        answer = annotator.annotate(TEXTS[:1], labels=[label, BUSINESS])[0]
        vectors = encoder.encode(["my sports", "Games.", "A match.", "A race.", "Business", BUSINESS.definition])
        first = np.array([0.25, 1, 0.5, 0.5]) @ vectors[:4]
        second = np.array([0.25, 1]) @ vectors[4:]
        item = encoder.encode(TEXTS[0])[0]
        cosines = np.array([item @ p / np.linalg.norm(p) for p in (first, second)])
        scores = np.exp(cosines / annotator.temperature)
        assert answer.probabilities == pytest.approx(scores / scores.sum(), abs=1e-4)

    def test_it_is_deterministic(self, encoder, answers):
        again = OfflineAnnotator(encoder).annotate(TEXTS, labels=[SPORTS, BUSINESS])
        assert np.array_equal(distributions(again), distributions(answers))

    def test_an_answer_does_not_depend_on_the_other_items(self, annotator, answers):
        backwards = annotator.annotate(TEXTS[::-1], labels=[SPORTS, BUSINESS])
        alone = [annotator.annotate([text], labels=[SPORTS, BUSINESS])[0] for text in TEXTS]
        assert distributions(backwards)[::-1] == pytest.approx(distributions(answers), abs=1e-5)
        assert distributions(alone) == pytest.approx(distributions(answers), abs=1e-5)

    def test_the_order_of_labels_only_changes_their_numbers(self, annotator, answers):
        swapped = annotator.annotate(TEXTS, labels=[BUSINESS, SPORTS])
        assert distributions(swapped)[:, ::-1] == pytest.approx(distributions(answers), abs=1e-5)

    def test_gold_examples_draw_their_like(self, annotator):
        labels = [LabelSpec("alpha"), LabelSpec("beta")]
        shown = [Example(TEXTS[0], 1), Example(TEXTS[1], 0)]
        plain = annotator.annotate(TEXTS, labels=labels)
        taught = annotator.annotate(TEXTS, labels=labels, examples=shown)
        assert taught[2].label == 1
        assert taught[4].label == 0
        assert taught[2].probabilities[1] > plain[2].probabilities[1]

    def test_gold_of_one_call_is_forgotten_in_the_next(self, annotator, answers):
        annotator.annotate(TEXTS, labels=[SPORTS, BUSINESS], examples=[Example(TEXTS[0], 1)])
        assert np.array_equal(
            distributions(annotator.annotate(TEXTS, labels=[SPORTS, BUSINESS])), distributions(answers)
        )

    def test_it_takes_labels_without_words(self, annotator):
        answer = annotator.annotate(TEXTS[:1], labels=[LabelSpec("_", " "), LabelSpec("Sports", "", ("", "A match."))])[
            0
        ]
        assert answer.label == 1

    def test_a_lower_temperature_is_surer(self, encoder, answers):
        sharp = OfflineAnnotator(encoder, temperature=0.01).annotate(TEXTS, labels=[SPORTS, BUSINESS])
        assert (distributions(sharp).max(axis=1) >= distributions(answers).max(axis=1)).all()

    def test_it_stays_finite_at_the_extremes(self, encoder):
        sharp = OfflineAnnotator(encoder, temperature=1e-4).annotate(TEXTS, labels=[SPORTS, BUSINESS])
        assert np.isfinite(distributions(sharp)).all()

    @pytest.mark.parametrize("temperature", [0, -1, float("nan")])
    def test_it_refuses_a_temperature_that_is_not_above_zero(self, encoder, temperature):
        with pytest.raises(ValueError, match="temperature"):
            OfflineAnnotator(encoder, temperature=temperature)

    def test_its_model_names_weights_and_temperature(self, encoder, annotator):
        assert encoder.fingerprint in annotator.model
        assert encoder.checksum[:12] in annotator.model
        assert OfflineAnnotator(encoder, temperature=0.5).model != annotator.model
