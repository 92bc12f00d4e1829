"""VGGish, the audio backbone: AudioSet's VGG on 0.96 s of log-mel spectrogram (Hershey et al. 2017).

Shapes: N windows, 96 spectrogram frames, 64 mel bands.
"""

from __future__ import annotations

from torch import Tensor, nn

CONVOLUTIONS = (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool")


class VGGish(nn.Module):
    """Log-mel windows to vectors, without a final ReLU."""

    width = 128
    release = (("embeddings.4",), ("embeddings.2",), ("embeddings.0",))
    """Parts trained from the start, then the parts released one group after the other (report section 3.4)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for step in CONVOLUTIONS:
            if isinstance(step, int):
                layers += [nn.Conv2d(inputs, step, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = step
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 6 * 4, 4096), nn.ReLU(inplace=True), nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Linear(4096, self.width)
        )

    def forward(self, x_NTM: Tensor) -> Tensor:
        """(N, 96, 64) -> (N, 128). The feature maps are flattened with channels last, as the released weights expect."""
        maps_NCTM = self.features(x_NTM.unsqueeze(1))
        out: Tensor = self.embeddings(maps_NCTM.permute(0, 2, 3, 1).flatten(1))
        return out
