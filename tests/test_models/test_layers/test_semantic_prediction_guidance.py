import torch

from mmlayerwise.models.layers.semantic_prediction_guidance import SemanticPredictionGuidance


@torch.no_grad()
def test_features_are_weighted_by_their_scores():
    torch.manual_seed(0)
    guide = SemanticPredictionGuidance(4, 3).double()
    features = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    guided, scores = guide(features)
    for y, x in ((0, 0), (4, 3)):
        one = features[1, :, y, x]
        score = guide.classifier.weight[:, :, 0, 0] @ one + guide.classifier.bias
        logits = guide.guidance.weight[:, :, 0, 0] @ score + guide.guidance.bias
        torch.testing.assert_close(scores[1, :, y, x], score)
        torch.testing.assert_close(guided[1, :, y, x], one * (1 + 1 / (1 + (-logits).exp())))


@torch.no_grad()
def test_no_guidance_is_a_factor():
    guide = SemanticPredictionGuidance(4, 3)
    for parameter in guide.guidance.parameters():
        parameter.zero_()
    features = torch.randn(1, 4, 5, 6)
    torch.testing.assert_close(guide(features)[0], 1.5 * features)


def test_guided_features_train_the_scores():
    guide = SemanticPredictionGuidance(4, 3)
    guide(torch.randn(1, 4, 5, 6))[0].square().mean().backward()
    assert guide.classifier.weight.grad.any()
