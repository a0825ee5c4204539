"""The second voice encoder: from the embedding of a frozen speaker network to the face feature of a typical owner of that voice.

Speaker networks have heard thousands of people, so what is left to learn is small: a few fully connected layers from a voice's embedding
to how a face differs from the mean face. Several such networks, which differ in their initial weights and in what dropout takes, are
trained side by side and averaged (Hansen and Salamon 1990, "Neural network ensembles").
"""

import torch
from torch import Tensor, nn

MIN_DEVIATION = 1e-6
"""Of a number that is the same for all training voices, as where a ReLU is never active."""


class SpeakerEncoder(nn.Module):
    """Embeddings to a face feature.

    Shape:
        input: [B, embedding_dim], or [B, S, embedding_dim] for S parts of a recording, whose predictions are averaged
        output: [B, feature_dim]

    Args:
        embedding_dim: numbers of a voice, those of all speaker networks side by side.
        feature_dim: numbers of a face.
        hidden_dim, num_layers: width and number of hidden layers of each member.
        members: networks that are averaged.
        dropout: part of the hidden units that a training step leaves out; of the inputs 0.4 of that.
    """

    voice_mean: Tensor
    voice_deviation: Tensor
    mean_feature: Tensor
    feature_deviation: Tensor

    def __init__(
        self,
        embedding_dim: int,
        feature_dim: int,
        hidden_dim: int = 256,
        num_layers: int = 2,
        members: int = 3,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.embedding_dim, self.feature_dim = embedding_dim, feature_dim
        self.members = nn.ModuleList(
            _member(embedding_dim, feature_dim, hidden_dim, num_layers, dropout) for _ in range(members)
        )
        self.register_buffer("voice_mean", torch.zeros(embedding_dim))
        self.register_buffer("voice_deviation", torch.ones(embedding_dim))
        self.register_buffer("mean_feature", torch.zeros(feature_dim))
        self.register_buffer("feature_deviation", torch.ones(()))

    @torch.no_grad()
    def set_means(
        self, voice_mean: Tensor, voice_deviation: Tensor, mean_feature: Tensor, feature_deviation: Tensor
    ) -> None:
        """Take over mean and standard deviation [embedding_dim] of the training voices' embeddings, the mean face [feature_dim], and how
        far a number of a face is from the mean face, as a root mean square over all numbers (scalar)."""
        self.voice_mean.copy_(voice_mean)
        self.voice_deviation.copy_(voice_deviation.clamp(min=MIN_DEVIATION))
        self.mean_feature.copy_(mean_feature)
        self.feature_deviation.copy_(feature_deviation)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Features of voices; see the class."""
        deviations = self.deviations(embeddings).mean(0)
        return self.mean_feature + (deviations.mean(1) if embeddings.ndim == 3 else deviations)

    def deviations(self, embeddings: Tensor) -> Tensor:
        """How far from the mean face each member puts the face, [members, *, feature_dim], for embeddings [*, embedding_dim]."""
        voices = (embeddings - self.voice_mean) / self.voice_deviation
        return self.feature_deviation * torch.stack([member(voices) for member in self.members])


def _member(embedding_dim: int, feature_dim: int, hidden_dim: int, num_layers: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Dropout(0.4 * dropout)]
    for i in range(num_layers):
        layers += [nn.Linear(hidden_dim if i else embedding_dim, hidden_dim), nn.GELU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(hidden_dim, feature_dim))
