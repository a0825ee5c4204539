"""Each term on values worked out by hand, and what its gradient must do."""

import math

import pytest
import torch
from torch import Tensor, nn

from speech2face.models.face_decoder import DecodedFace
from speech2face.models.losses import (
    DecoderLossWeights,
    EncoderLossWeights,
    decoder_loss,
    distillation,
    encoder_loss,
    info_nce,
    l1_distance,
    unit_distance,
    unit_vector,
)


def frozen_linear(in_features: int, out_features: int, seed: int) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(in_features, out_features).double().requires_grad_(False)


@pytest.fixture
def f_dec() -> nn.Linear:
    return frozen_linear(6, 10, seed=1)


@pytest.fixture
def face_logits() -> nn.Linear:
    return frozen_linear(6, 7, seed=2)


def features(batch: int, seed: int) -> Tensor:
    return torch.randn(batch, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestTerms:
    def test_l1_is_a_sum_over_features_and_a_mean_over_samples(self) -> None:
        a = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
        b = torch.tensor([[0.0, 4.0, 3.0], [1.0, -1.0, 0.5]])
        assert l1_distance(a, b).item() == pytest.approx(((1 + 2 + 0) + (1 + 1 + 0.5)) / 2)

    def test_unit_distance_by_hand(self) -> None:
        """3-4-5 and an axis: |(0.6, 0.8) - (1, 0)|^2 = 0.8; opposite vectors: 4; and the lengths do not matter."""
        a = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
        b = torch.tensor([[7.0, 0.0], [0.0, -0.1]])
        assert unit_distance(a, b).item() == pytest.approx((0.8 + 4.0) / 2)

    def test_unit_distance_is_two_minus_two_cosines(self) -> None:
        a, b = features(5, 3), features(5, 4)
        expected = (2 - 2 * nn.functional.cosine_similarity(a, b)).mean()
        torch.testing.assert_close(unit_distance(a, b), expected)

    def test_norms_are_of_samples_not_of_the_batch(self) -> None:
        """A sample's term does not change when another sample of its batch grows."""
        a, b = features(2, 5), features(2, 6)
        grown = torch.tensor([[1.0], [1000.0]], dtype=torch.float64)
        torch.testing.assert_close(unit_distance(a * grown, b), unit_distance(a, b))
        torch.testing.assert_close(torch.linalg.vector_norm(unit_vector(a), dim=1), torch.ones(2, dtype=torch.float64))

    def test_distillation_by_hand_with_both_sides_at_temperature_2(self) -> None:
        """Logits 2 log 3, 0 at T = 2 are p = 3/4, 1/4; logits 0, 2 log 4 are 1/5, 4/5."""
        a = torch.tensor([[2 * math.log(3), 0.0]], dtype=torch.float64)
        b = torch.tensor([[0.0, 2 * math.log(4)]], dtype=torch.float64)
        expected = -(0.75 * math.log(0.2) + 0.25 * math.log(0.8))
        assert distillation(a, b, temperature=2.0).item() == pytest.approx(expected)
        assert distillation(b, a, temperature=2.0).item() == pytest.approx(
            -(0.2 * math.log(0.75) + 0.8 * math.log(0.25))
        )

    def test_distillation_at_equality_is_the_entropy_and_a_minimum(self) -> None:
        a = features(3, 7)
        b = a.clone().requires_grad_()
        p = torch.softmax(a / 2, dim=1)
        loss = distillation(a, b, 2.0)
        torch.testing.assert_close(loss, torch.distributions.Categorical(p).entropy().mean())
        (grad,) = torch.autograd.grad(loss, b)
        assert grad.abs().max() < 1e-15
        for seed in range(5):
            assert distillation(a, a + 0.1 * features(3, seed), 2.0) > loss

    def test_distillation_gradient_is_the_difference_of_distributions(self) -> None:
        a, b = features(3, 7), features(3, 8).requires_grad_()
        (grad,) = torch.autograd.grad(distillation(a, b, 2.0), b)
        expected = (torch.softmax(b / 2, 1) - torch.softmax(a / 2, 1)) / 2 / len(a)
        torch.testing.assert_close(grad, expected)

    def test_distillation_of_large_logits_is_finite(self) -> None:
        a, b = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
        assert distillation(a, b, 2.0).item() == pytest.approx(5e3)

    def test_info_nce_by_hand(self) -> None:
        """Two orthogonal pairs: cosines 1 and 0, so log(1 + exp(-1 / T)) in both directions."""
        pairs = torch.eye(2)
        assert info_nce(3 * pairs, pairs, temperature=0.5).item() == pytest.approx(math.log1p(math.exp(-2)), rel=1e-6)
        assert info_nce(pairs.flip(0), pairs, 0.5).item() == pytest.approx(math.log1p(math.exp(2)), rel=1e-6)

    def test_info_nce_is_symmetric_and_skips_the_same_speaker(self) -> None:
        a, b = features(4, 1), features(4, 2)
        torch.testing.assert_close(info_nce(a, b), info_nce(b, a))
        speakers = torch.tensor([0, 1, 1, 2])
        without_one = torch.stack([info_nce(a[kept], b[kept]) for kept in ([0, 1, 3], [0, 2, 3])])
        masked = info_nce(a, b, identities=speakers)
        assert masked < info_nce(a, b)
        assert without_one.min() < masked < without_one.max() + info_nce(a, b)
        assert info_nce(a[:1], b[:1]) == 0  # no one to be confused with
        assert info_nce(a, b, identities=torch.zeros(4)) == 0

    def test_nan_is_not_taken_for_a_zero_vector(self) -> None:
        broken = torch.tensor([[math.nan, 1.0]])
        assert unit_vector(broken).isnan().all()
        assert unit_distance(broken, torch.ones(1, 2)).isnan()

    def test_a_zero_vector_is_safe(self) -> None:
        a = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
        loss = unit_distance(a, torch.tensor([[1.0, 0.0], [0.0, 1.0]])) + info_nce(a, torch.eye(2))
        loss.backward()
        assert loss.isfinite() and a.grad is not None and a.grad.isfinite().all()
        assert a.grad[0].tolist() == [0.0, 0.0] and a.grad[1].abs().max() > 0


class TestEncoderLoss:
    def test_terms_and_total(self, f_dec: nn.Linear, face_logits: nn.Linear) -> None:
        predicted, target = features(4, 10), features(4, 11)
        terms = encoder_loss(predicted, target, f_dec=f_dec, face_logits=face_logits)
        torch.testing.assert_close(terms.dec, l1_distance(f_dec(predicted), f_dec(target)))
        torch.testing.assert_close(terms.unit, unit_distance(predicted, target))
        torch.testing.assert_close(terms.distill, distillation(face_logits(target), face_logits(predicted), 2.0))
        assert terms.contrastive == 0
        torch.testing.assert_close(terms.total, terms.dec + 0.025 * terms.unit + 200 * terms.distill)

    def test_weights_and_temperatures(self, f_dec: nn.Linear, face_logits: nn.Linear) -> None:
        predicted, target = features(4, 10), features(4, 11)
        terms = encoder_loss(
            predicted,
            target,
            f_dec=f_dec,
            face_logits=face_logits,
            weights=EncoderLossWeights(dec=2.0, unit=3.0, distill=5.0, contrastive=7.0),
            temperature=1.0,
            contrastive_temperature=0.3,
        )
        torch.testing.assert_close(terms.distill, distillation(face_logits(target), face_logits(predicted), 1.0))
        torch.testing.assert_close(terms.contrastive, info_nce(predicted, target, 0.3))
        expected = 2 * terms.dec + 3 * terms.unit + 5 * terms.distill + 7 * terms.contrastive
        torch.testing.assert_close(terms.total, expected)

    def test_the_contrastive_term_measures_from_the_centre_and_the_published_terms_do_not(
        self, f_dec: nn.Linear, face_logits: nn.Linear
    ) -> None:
        """Two pairs far from zero, orthogonal as seen from their centre: cosines 1 and 0 in place of two near 1."""
        centre = torch.full((6,), 1000.0, dtype=torch.float64).requires_grad_()
        target = 1000 + torch.eye(2, 6, dtype=torch.float64)
        predicted = (1000 + 3 * torch.eye(2, 6, dtype=torch.float64)).requires_grad_()
        settings = {"f_dec": f_dec, "face_logits": face_logits, "contrastive_temperature": 0.5}
        weights = EncoderLossWeights(contrastive=7.0)
        plain = encoder_loss(predicted, target, weights=weights, **settings)
        centred = encoder_loss(predicted, target, weights=weights, centre=centre, **settings)
        assert plain.contrastive.item() == pytest.approx(math.log(2), abs=1e-4)  # no better than a guess
        assert centred.contrastive.item() == pytest.approx(math.log1p(math.exp(-2)), rel=1e-9)
        for name in ("dec", "unit", "distill"):
            assert getattr(centred, name) == getattr(plain, name)
        difference = 7 * (centred.contrastive - plain.contrastive)
        torch.testing.assert_close(centred.total - plain.total, difference)
        centred.contrastive.backward()
        assert predicted.grad is not None and centre.grad is None
        with pytest.raises(ValueError, match=r"centre must have the shape of one feature, \[6\] \(got \[5\]\)"):
            encoder_loss(predicted, target, weights=weights, centre=centre[:5], **settings)

    def test_does_not_depend_on_how_a_batch_is_split(self, f_dec: nn.Linear, face_logits: nn.Linear) -> None:
        """Micro-batches weighted by their share accumulate the gradient of the whole; a norm of the batch would not."""
        predicted, target = features(9, 12), features(9, 13)
        whole = predicted.clone().requires_grad_()
        total = encoder_loss(whole, target, f_dec=f_dec, face_logits=face_logits).total
        total.backward()
        parts = predicted.clone().requires_grad_()
        accumulated = 0.0
        for part in (slice(0, 2), slice(2, 3), slice(3, 9)):
            share = len(predicted[part]) / len(predicted)
            loss = share * encoder_loss(parts[part], target[part], f_dec=f_dec, face_logits=face_logits).total
            loss.backward()
            accumulated += loss.item()
        torch.testing.assert_close(parts.grad, whole.grad)
        assert accumulated == pytest.approx(total.item())

    def test_each_term_reaches_the_prediction_and_nothing_else(self, f_dec: nn.Linear, face_logits: nn.Linear) -> None:
        for name in ("dec", "unit", "distill", "contrastive"):
            predicted, target = features(4, 14).requires_grad_(), features(4, 15).requires_grad_()
            weights = EncoderLossWeights(0.0, 0.0, 0.0, 1.0)
            terms = encoder_loss(predicted, target, f_dec=f_dec, face_logits=face_logits, weights=weights)
            getattr(terms, name).backward()
            assert predicted.grad is not None and predicted.grad.abs().max() > 0, name
            assert target.grad is None, name
        assert all(parameter.grad is None for net in (f_dec, face_logits) for parameter in net.parameters())

    def test_autocast_does_not_round_it(self, f_dec: nn.Linear, face_logits: nn.Linear) -> None:
        f_dec, face_logits = f_dec.float(), face_logits.float()
        predicted, target = features(4, 10).bfloat16(), features(4, 11).float()
        expected = encoder_loss(predicted.float(), target, f_dec=f_dec, face_logits=face_logits)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            terms = encoder_loss(predicted, target, f_dec=f_dec, face_logits=face_logits)
        for term, value in zip(terms, expected, strict=True):
            torch.testing.assert_close(term, value, rtol=0, atol=0)

    def test_an_untrained_or_cut_network_is_an_error(self, f_dec: nn.Linear, face_logits: nn.Linear) -> None:
        predicted, target = features(4, 10).requires_grad_(), features(4, 11)
        with pytest.raises(ValueError, match="face_logits cuts the gradient"):
            encoder_loss(predicted, target, f_dec=f_dec, face_logits=torch.no_grad()(face_logits))
        with pytest.raises(ValueError, match="f_dec cuts the gradient"):
            encoder_loss(predicted, target, f_dec=lambda x: f_dec(x.detach()), face_logits=face_logits)
        with pytest.raises(ValueError, match=r"f_dec has trainable parameters: freeze it with requires_grad_\(False\)"):
            encoder_loss(predicted, target, f_dec=f_dec.requires_grad_(), face_logits=face_logits)
        f_dec.requires_grad_(False)
        with pytest.raises(ValueError, match="face_logits has trainable parameters"):
            encoder_loss(predicted, target, f_dec=f_dec, face_logits=face_logits.requires_grad_().forward)

    def test_bad_shapes_and_temperatures_are_errors(self, f_dec: nn.Linear, face_logits: nn.Linear) -> None:
        predicted = features(4, 10)
        for target in (features(1, 11), features(4, 11)[:, :5], features(4, 11)[0]):
            with pytest.raises(ValueError, match="target must have the shape of predicted, 2 axes"):
                encoder_loss(predicted, target, f_dec=f_dec, face_logits=face_logits)
        with pytest.raises(ValueError, match=r"temperature must be greater than 0 \(got 0.0\)"):
            encoder_loss(predicted, predicted, f_dec=f_dec, face_logits=face_logits, temperature=0.0)
        with pytest.raises(ValueError, match=r"contrastive temperature must be greater than 0 \(got -1.0\)"):
            info_nce(predicted, predicted, -1.0)


class TestDecoderLoss:
    @staticmethod
    def embed(image: Tensor) -> Tensor:
        return image.mean(dim=(2, 3))  # the mean colour: linear, so its gradient is known

    @staticmethod
    def decoded() -> DecodedFace:
        generator = torch.Generator().manual_seed(0)
        texture = torch.rand(2, 3, 224, 224, generator=generator).requires_grad_()
        landmarks = (100 + torch.rand(2, 68, 2, generator=generator)).requires_grad_()
        return DecodedFace(texture, landmarks, torch.rand(2, 3, 224, 224, generator=generator).requires_grad_())

    def test_terms_and_total_by_hand(self) -> None:
        decoded = self.decoded()
        texture = decoded.texture.detach() + torch.tensor([0.25, -0.75])[:, None, None, None]
        landmarks = decoded.landmarks.detach() + torch.tensor([3.0, 4.0])
        feature = torch.stack([self.embed(decoded.image.detach())[0], torch.tensor([1.0, -1.0, 0.0])])
        weights = DecoderLossWeights(texture=2.0, landmarks=3.0, embedding=5.0)
        terms = decoder_loss(decoded, texture, landmarks, feature, embed=self.embed, weights=weights)
        second = nn.functional.cosine_similarity(self.embed(decoded.image)[1], feature[1], dim=0).item()
        assert terms.texture.item() == pytest.approx(0.5, rel=1e-5)
        assert terms.landmarks.item() == pytest.approx((9 + 16) / 2, rel=1e-4)
        assert terms.embedding.item() == pytest.approx(-(1 + second) / 2, rel=1e-5)
        torch.testing.assert_close(terms.total, 2 * terms.texture + 3 * terms.landmarks + 5 * terms.embedding)

    def test_the_texture_term_is_a_mean_over_the_pixels_that_are_known(self) -> None:
        """Errors of 0.25 and 0.75 where the texture is known; of the rest neither the error nor the gradient counts."""
        decoded = self.decoded()
        mask = torch.zeros(2, 224, 224, dtype=torch.bool)
        mask[0, :50], mask[1, :, 200:] = True, True
        errors = torch.where(mask, torch.tensor([0.25, -0.75])[:, None, None], 1e6)[:, None]
        truth = (decoded.texture.detach() + errors, decoded.landmarks.detach(), torch.eye(3)[:2])
        terms = decoder_loss(decoded, *truth, embed=self.embed, mask=mask)
        assert terms.texture.item() == pytest.approx(0.5, rel=1e-5)
        terms.texture.backward()
        assert torch.equal(decoded.texture.grad != 0, mask[:, None].expand(-1, 3, -1, -1))
        nothing = decoder_loss(decoded, *truth, embed=self.embed, mask=torch.zeros_like(mask))
        assert nothing.texture == 0
        with pytest.raises(ValueError, match="mask must have the shape of"):
            decoder_loss(decoded, *truth, embed=self.embed, mask=mask[:1])

    def test_the_face_network_looks_at_the_faces_that_have_been_drawn(self) -> None:
        whole = self.decoded()
        decoded = whole._replace(image=whole.image[:1])
        truth = (torch.zeros(2, 3, 224, 224), torch.zeros(2, 68, 2), torch.eye(3)[:2])
        terms = decoder_loss(decoded, *truth, embed=self.embed)
        first = nn.functional.cosine_similarity(self.embed(decoded.image)[0], truth[2][0], dim=0)
        torch.testing.assert_close(terms.embedding, -first)
        assert torch.equal(terms.texture, decoder_loss(whole, *truth, embed=self.embed).texture)

    def test_without_weight_the_face_network_is_not_used(self) -> None:
        def embed(image: Tensor) -> Tensor:
            raise AssertionError("used")

        decoded = self.decoded()
        truth = (torch.zeros(2, 3, 224, 224), torch.zeros(2, 68, 2), torch.eye(3)[:2])
        terms = decoder_loss(decoded, *truth, embed=embed, weights=DecoderLossWeights(embedding=0.0))
        assert terms.embedding == 0
        torch.testing.assert_close(terms.total, terms.texture + 0.01 * terms.landmarks)

    def test_each_term_reaches_its_own_part(self) -> None:
        for name in ("texture", "landmarks", "image"):
            decoded = self.decoded()
            terms = decoder_loss(
                decoded, torch.zeros(2, 3, 224, 224), torch.zeros(2, 68, 2), torch.eye(3)[:2], embed=self.embed
            )
            term = {"texture": terms.texture, "landmarks": terms.landmarks, "image": terms.embedding}[name]
            term.backward()
            for part, tensor in decoded._asdict().items():
                assert (tensor.grad is not None and tensor.grad.abs().max() > 0) == (part == name)

    def test_an_embedder_without_gradient_is_an_error(self) -> None:
        decoded = self.decoded()
        truth = (torch.zeros(2, 3, 224, 224), torch.zeros(2, 68, 2), torch.eye(3)[:2])
        with pytest.raises(ValueError, match="embed cuts the gradient"):
            decoder_loss(decoded, *truth, embed=torch.no_grad()(self.embed))
        with torch.no_grad():  # in validation there is none to cut
            assert decoder_loss(decoded, *truth, embed=self.embed).total.isfinite()
        network = nn.Sequential(nn.AvgPool2d(224), nn.Flatten(), nn.Linear(3, 3))
        with pytest.raises(ValueError, match="embed has trainable parameters"):
            decoder_loss(decoded, *truth, embed=network)

    def test_shapes_that_would_broadcast_are_errors(self) -> None:
        texture, landmarks, feature = torch.zeros(2, 3, 224, 224), torch.zeros(2, 68, 2), torch.eye(3)[:2]
        for truth, name in (
            ((texture[:1], landmarks, feature), "texture"),
            ((texture, landmarks[:, :1], feature), "landmarks"),
            ((texture, landmarks, feature[:1]), "feature"),
        ):
            with pytest.raises(ValueError, match=f"{name} must have the shape of"):
                decoder_loss(self.decoded(), *truth, embed=self.embed)
