import numpy as np
import pytest

from models_ml.types import AnnotationRequest, Example, Failure, FailureKind, Judgement, LabelSpec

YES_NO = (LabelSpec("yes"), LabelSpec("no"))


def distribution(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


class TestAnnotationRequest:
    def test_it_takes_a_pair_as_two_texts(self):
        assert AnnotationRequest([("first", "second")], YES_NO).items[0] == ("first", "second")

    def test_it_takes_no_items(self):
        assert AnnotationRequest([], YES_NO).items == []

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"labels": YES_NO[:1]}, "at least two"),
            ({"labels": (*YES_NO, LabelSpec("no"))}, "unique"),
            ({"items": [()]}, "one text"),
            ({"examples": [Example(("text",), 2)]}, "index"),
            ({"examples": [Example(("text",), -1)]}, "index"),
        ],
    )
    def test_it_refuses(self, change, reason):
        with pytest.raises(ValueError, match=reason):
            AnnotationRequest(**({"items": [("text",)], "labels": YES_NO} | change))


class TestJudgement:
    def test_it_leaves_the_unknown_as_none(self):
        judgement = Judgement(label=1)
        assert judgement.probabilities is None
        assert judgement.label_mass is None
        assert judgement.n_input_tokens is None

    def test_it_takes_a_distribution(self):
        assert Judgement(1, distribution(0.25, 0.75)).label == 1

    @pytest.mark.parametrize(
        ("label", "probabilities"),
        [
            (2, distribution(0.25, 0.75)),
            (-1, distribution(0.25, 0.75)),
            (0, distribution(0.6, 0.6)),
            (0, distribution(1.5, -0.5)),
            (0, distribution(np.nan, 1.0)),
            (0, np.array([0.5, 0.5])),
            (0, distribution(0.5, 0.5)[None]),
        ],
    )
    def test_it_refuses_what_is_no_distribution(self, label, probabilities):
        with pytest.raises(ValueError, match="probabilities"):
            Judgement(label, probabilities)


def test_failure_kinds_are_stored_as_words():
    assert FailureKind("out_of_set") is FailureKind.OUT_OF_SET
    assert str(FailureKind.REFUSAL) == "refusal"


class AnnotatorContract:
    """What every annotator does. Inherit, name the class Test..., and give an `annotator` fixture."""

    items = [("My card has not arrived yet.",), (" \n\t",), ("What is your exchange rate?",)]
    labels = [
        LabelSpec("card_arrival", "A card that was ordered has not come.", ("My new card is late.",)),
        LabelSpec("exchange_rate", "Asks at which rate currencies are exchanged."),
        LabelSpec("other"),
    ]

    @pytest.fixture
    def answers(self, annotator):
        return annotator.annotate(self.items, labels=self.labels)

    def test_it_says_what_it_is(self, annotator):
        assert annotator.name
        assert annotator.model

    def test_it_answers_each_item_once(self, answers):
        assert len(answers) == len(self.items)
        assert all(isinstance(answer, Judgement | Failure) for answer in answers)

    def test_it_takes_no_items(self, annotator):
        assert annotator.annotate([], labels=self.labels) == []

    def test_it_fails_on_an_item_without_text_and_on_no_other(self, answers):
        assert [isinstance(answer, Failure) for answer in answers] == [False, True, False]
        assert answers[1].kind is FailureKind.EMPTY
        assert answers[1].message

    def test_its_judgements_fit_the_labels(self, answers):
        for answer in (answers[0], answers[2]):
            assert 0 <= answer.label < len(self.labels)
            assert answer.probabilities is None or answer.probabilities.shape == (len(self.labels),)
            assert answer.label_mass is None or 0 <= answer.label_mass <= 1

    def test_it_counts_what_it_used(self, answers):
        for answer in answers:
            assert answer.cost_micros >= 0
            for used in (answer.n_input_tokens, answer.n_output_tokens, answer.latency_seconds):
                assert used is None or used >= 0

    def test_it_takes_pairs_guidelines_and_examples(self, annotator):
        examples = [Example(("The card is late.", "Where is it?"), 0)]
        pair = [("My card has not arrived yet.", "Why?")]
        answers = annotator.annotate(pair, labels=self.labels, guidelines="Choose one.", examples=examples)
        assert isinstance(answers[0], Judgement)

    def test_it_refuses_a_bad_request(self, annotator):
        with pytest.raises(ValueError, match="two labels"):
            annotator.annotate(self.items, labels=self.labels[:1])
        with pytest.raises(ValueError, match="index"):
            annotator.annotate(self.items, labels=self.labels, examples=[Example(("text",), 3)])
